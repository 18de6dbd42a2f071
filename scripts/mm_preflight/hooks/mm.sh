unalias mm 2>/dev/null || :
function mm {
  local arg= command= reset=
  for arg in "$@"; do
    case "$command|$arg" in
      *"|-h" | *"|--help") reset=; break ;;
      "|-"*) ;;
      "|"*) command=$arg ;;
      "embedding-reset|apply-current" | "embedding-reset|--mode=apply-current") reset=1 ;;
    esac
  done
  if [ -n "$reset" ]; then
    if ! command -v mm-preflight >/dev/null 2>&1; then
      printf '%s\n' "mm-preflight: unknown, refused: mm-preflight is not on PATH" "  install it again, or take its hook out of your shell's start-up file" >&2
      return 2
    fi
    command mm-preflight || return "$?"
  fi
  command mm "$@"
}
unalias memtomem 2>/dev/null || :
function memtomem {
  local arg= command= reset=
  for arg in "$@"; do
    case "$command|$arg" in
      *"|-h" | *"|--help") reset=; break ;;
      "|-"*) ;;
      "|"*) command=$arg ;;
      "embedding-reset|apply-current" | "embedding-reset|--mode=apply-current") reset=1 ;;
    esac
  done
  if [ -n "$reset" ]; then
    if ! command -v mm-preflight >/dev/null 2>&1; then
      printf '%s\n' "mm-preflight: unknown, refused: mm-preflight is not on PATH" "  install it again, or take its hook out of your shell's start-up file" >&2
      return 2
    fi
    command mm-preflight || return "$?"
  fi
  command memtomem "$@"
}
