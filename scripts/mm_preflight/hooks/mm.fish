# mm asks mm-preflight before it drops vectors. Anything else goes straight on.
functions --erase mm memtomem # in fish, an alias is a function
function mm --description 'memtomem, which asks mm-preflight before a reset'
    set -l line (status current-function) $argv
    if string match -q -- '*embedding-reset*apply-current*' "$argv"
        command -q mm-preflight; or begin; echo "mm-preflight: refused, mm-preflight is not on PATH; install it again" >&2; return 2; end
        set -p line mm-preflight --
    end
    command $line
end
functions --copy mm memtomem
