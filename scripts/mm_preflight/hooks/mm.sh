# For bash and zsh: mm asks mm-preflight before it drops vectors. Anything else goes straight on.
# shellcheck shell=bash
unalias mm memtomem 2>/dev/null || :
function mm {
  case "$*" in *embedding-reset*apply-current*) ;; *) command mm "$@"; return ;; esac
  if command -v mm-preflight >/dev/null; then command mm-preflight -- mm "$@"; else echo "mm-preflight: refused, mm-preflight is not on PATH; install it again" >&2; return 2; fi
}
function memtomem {
  case "$*" in *embedding-reset*apply-current*) ;; *) command memtomem "$@"; return ;; esac
  if command -v mm-preflight >/dev/null; then command mm-preflight -- memtomem "$@"; else echo "mm-preflight: refused, mm-preflight is not on PATH; install it again" >&2; return 2; fi
}
