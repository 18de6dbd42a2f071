function mm --wraps mm --description 'memtomem; asks mm-preflight before a reset'
    set -l command
    set -l reset
    for arg in $argv
        if contains -- "$arg" -h --help
            set reset
            break
        else if test -z "$command"
            string match -q -- '-*' "$arg"; or set command "$arg"
        else if test "$command" = embedding-reset
            contains -- "$arg" apply-current --mode=apply-current; and set reset 1
        end
    end
    if test -n "$reset"
        if not command -sq mm-preflight
            printf '%s\n' "mm-preflight: unknown, refused: mm-preflight is not on PATH" "  install it again, or take its hook out of your shell's start-up file" >&2
            return 2
        end
        command mm-preflight; or return $status
    end
    command mm $argv
end
function memtomem --wraps memtomem --description 'memtomem; asks mm-preflight before a reset'
    set -l command
    set -l reset
    for arg in $argv
        if contains -- "$arg" -h --help
            set reset
            break
        else if test -z "$command"
            string match -q -- '-*' "$arg"; or set command "$arg"
        else if test "$command" = embedding-reset
            contains -- "$arg" apply-current --mode=apply-current; and set reset 1
        end
    end
    if test -n "$reset"
        if not command -sq mm-preflight
            printf '%s\n' "mm-preflight: unknown, refused: mm-preflight is not on PATH" "  install it again, or take its hook out of your shell's start-up file" >&2
            return 2
        end
        command mm-preflight; or return $status
    end
    command memtomem $argv
end
