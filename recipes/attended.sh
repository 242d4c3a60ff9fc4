# shellcheck shell=bash
# Sourced by every script that starts what takes longer than a moment, in the repository's folder.

# Runs a command and passes a SIGTERM on to it, which a shell that waits in the foreground does not: it would end, and the
# command would go on. A shell has what it starts in the background ignore Ctrl-C, and read nothing: `env` undoes the one,
# unless this shell was itself told to ignore it, and `<&0` the other. Returns the command's exit code, or 128 + the number
# of a signal that came: pip and mypy have codes of their own for Ctrl-C.
attended() {
  local again=1 by=0 status=0 hears=()
  [[ $(trap -p INT) ]] || hears=(env "--default-signal=INT,QUIT")
  "${hears[@]}" "$@" <&0 &
  # A signal ends `wait`, not the command. The terminal sends Ctrl-C to both.
  trap 'again=1 by=15; kill -TERM $! || true' TERM
  trap 'again=1 by=2' INT
  while (( again )); do
    again=0 status=0
    wait $! || status=$?
  done
  trap - INT TERM
  (( by == 0 )) || status=$((128 + by))
  return "$status"
}

# Runs a part of a script, attended. A signal that ends the part ends the script too.
part() {
  local status=0
  attended "$@" || status=$?
  (( status <= 128 )) || exit "$status"
  return "$status"
}
