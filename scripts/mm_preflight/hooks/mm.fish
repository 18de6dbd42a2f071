# mm asks mm-preflight before it drops vectors. Anything else goes straight on.
# What mm was stays what it was: fish itself finds the program, or calls your own function (in fish,
# an alias is one) as it is, between two checks.

function __mm_preflight_ask
    if command -q mm-preflight
        command mm-preflight >&2
    else
        echo "mm-preflight: refused, mm-preflight is not on PATH; install it again" >&2
        return 2
    end
end

function __mm_preflight --description 'mm ARG ..., with mm-preflight before a reset'
    set -l own __mm_preflight_own_$argv[1]
    set -l inside (status stack-trace | string match "*$own*" | count)
    if test $inside -gt 20 # it calls only itself, so it means the program
        set own ''
    end
    set -l asks 0
    if test $inside -eq 0; and string match -q -- '*embedding-reset*apply-current*' "$argv"
        set asks 1
        __mm_preflight_ask; or return
    end
    if functions -q $own
        $own $argv[2..]
    else
        command $argv
    end
    or return
    if test $asks -eq 1
        __mm_preflight_ask; and return
        set -l verdict $status
        echo "mm-preflight: the reset had run before this check; once it says clear, reset again" >&2
        return $verdict
    end
end

function __mm_preflight_say --argument-names what
    status is-interactive
    and echo "mm-preflight: your $what may go past the check; run mm-preflight before you reset" >&2
end

function __mm_preflight_keep --argument-names name
    set -l text (functions $name)
    if string match -rq 'current-function|status function' -- $text # it does not work by another name
        __mm_preflight_say "function $name"
    else if not string match -q '*__mm_preflight*' -- $text # else it was loaded before
        functions --erase __mm_preflight_own_$name
        functions -q $name; and functions --copy $name __mm_preflight_own_$name
        function $name --inherit-variable name
            __mm_preflight $name $argv
        end
    end
    if status is-interactive; and abbr --show | string match -rq -- " $name .*[ /'\"](mm|memtomem)['\" ]*\$"
        __mm_preflight_say "abbreviation $name"
    end
end

__mm_preflight_keep mm
__mm_preflight_keep memtomem
functions --erase __mm_preflight_keep __mm_preflight_say
