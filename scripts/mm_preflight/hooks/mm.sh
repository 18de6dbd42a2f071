# For bash and zsh: mm asks mm-preflight before it drops vectors. Anything else goes straight on.
# What mm was stays what it was: the shell itself finds the program, or calls your own function as
# it is, between two checks. In an alias that leads to mm by a path or a runner, they are put around
# that program.
# shellcheck shell=bash

__mm_preflight_ask() {
  if command -v mm-preflight >/dev/null; then command mm-preflight >&2; else
    echo "mm-preflight: refused, mm-preflight is not on PATH; install it again" >&2
    return 2
  fi
}
__mm_preflight_around() { # COMMAND ARG ...
  case "$*" in
    *embedding-reset*apply-current*)
      __mm_preflight_ask && "$@" || return
      __mm_preflight_ask || {
        set -- $?
        echo "mm-preflight: the reset had run before this check; once it says clear, reset again" >&2
        return "$1"
      } ;;
    *) "$@" ;;
  esac
}
__mm_preflight() { __mm_preflight_around command "$@"; } # PROGRAM ARG ...

__mm_preflight_say() { # WHAT
  case $- in *i*) echo "mm-preflight: your $1 may go past the check; run mm-preflight before you reset" >&2 ;; esac
}
__mm_preflight_function() { # NAME; $2: its text
  set -- "$1" "$(\declare -f "$1")"
  case $2 in
    *__mm_preflight*) return ;; # loaded before
    '') eval "function $1 { __mm_preflight $1 \"\$@\"; }" && return ;;
    *\$0* | *\$\{0* | *FUNCNAME* | *funcstack*) # it does not work by another name
      __mm_preflight_say "function $1"
      return ;;
  esac
  unset -f "__mm_preflight_own_$1" 2>/dev/null || :
  if [ -n "${ZSH_VERSION-}" ]; then functions -c "$1" "__mm_preflight_own_$1" 2>/dev/null || : # since 5.8
  else # its text has no aliases any more, and gets none
    set -- "$1" "$2" "$(shopt -p expand_aliases)"
    shopt -u expand_aliases
    eval "__mm_preflight_own_$2" 2>/dev/null || : # with extglob off, it may be no syntax
    eval "$3"
  fi
  \declare -f "__mm_preflight_own_$1" >/dev/null || { __mm_preflight_say "function $1"; return; }
  eval "function $1 { __mm_preflight_around __mm_preflight_own_$1 \"\$@\"; }"
  case "$(\declare -pF "$1" 2>/dev/null)" in *" -fx "*) # other shells are given it, too
    export -f __mm_preflight_ask __mm_preflight_around "__mm_preflight_own_$1" ;;
  esac
}
__mm_preflight_alias() { # NAME; $2: the alias, $3: the same from the word on that is a program
  eval "set -- $1 $(\alias "$1" 2>/dev/null | \sed '1s/^[^=]*=//')"
  set -- "$1" "${2-}" "$(\printf '%s\n' "${2-}" | \sed -E "s/^((noglob|nocorrect|time|[A-Za-z_0-9]+=([^'\"[:blank:]]|'[^']*'|\"[^\"]*\")*)[[:blank:]]+)*//")"
  case "$3 " in
    mm\ * | memtomem\ * | __mm_preflight\ *) return ;; # it is, or leads to, a function above
    *[\ /]mm[\ \'\"]* | *[\ /]memtomem[\ \'\"]*) ;;
    *) return ;; # another program
  esac
  case "$3/${3%% *}" in
    *[\;\&\|\<\>\(\)\`\#]* | *$'\n'* | *[\'\"\\*?[\{]*) ;;
    *) case "$(eval "command -v ${3%% *}")$(\alias)"$'\n' in
      *[[:blank:]]\'$'\n'* | *\\t\'$'\n'*) ;; # with alias sudo='sudo ', sudo would run what is put in front
      /*)
        # shellcheck disable=SC2139
        \alias "$1=${2%"$3"}__mm_preflight $3"
        return ;;
    esac ;;
  esac
  __mm_preflight_say "alias $1"
}

__mm_preflight_function mm
__mm_preflight_function memtomem
__mm_preflight_alias mm
__mm_preflight_alias memtomem
command -v compdef >/dev/null && compdef _precommand __mm_preflight # zsh completes what stands behind it
unset -f __mm_preflight_function __mm_preflight_alias __mm_preflight_say
