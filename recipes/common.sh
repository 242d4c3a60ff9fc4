# shellcheck shell=bash disable=SC2154  # the recipe sets what is not assigned here
# Sourced by the recipes, in the repository's folder.
source recipes/attended.sh

# Ray runs the code of whoever reaches it, unless it asks for a token (SECURITY.md).
[[ -v RAY_AUTH_MODE ]] || export RAY_AUTH_MODE=token

# Stops if the environment holds a variable that looks like one of the recipe's and is not, or a time limit that is not a
# number. $1: its name in environment.py.
known_environment() {
  part "${PYTHON:-python3}" recipes/environment.py "$1" || exit 2
  [[ ${TIME_LIMIT:-1} =~ ^[1-9][0-9]*$ ]] || { echo "TIME_LIMIT=$TIME_LIMIT is not a number of seconds." >&2; exit 2; }
}

# Stops if a folder cannot be written to, or if another run writes to it, before the seconds that Python's imports take.
# The run itself makes the folder and takes the lock.
free_folder() {
  local made=$1 locked=0
  while [[ ! -e $made ]]; do made=$(dirname "$made"); done
  [[ -d $made && -w $made ]] || {
    echo "$1 cannot be written to: $made is read-only, or not a folder. Choose another OUTPUT." >&2
    exit 1
  }
  [[ ! -e $1/.lock ]] || flock --nonblock "$1/.lock" true || locked=$?
  # Any other exit code says that the lock could not be asked; the run itself asks again.
  (( locked != 1 )) || {
    echo "$1 is in use by $(cat "$1/.lock"): choose another OUTPUT, or wait until it has ended." >&2
    exit 1
  }
}

# Says in seconds what would fail later: settings, GPUs, memory, disk, prompts. Ends the recipe if something would, or if
# only this was asked. Options of Hydra itself are not for it. $@: the overrides beside those of `overrides`.
check_first() {
  [[ " $* " == *" -"* ]] || part "$python" -m verl_egrsd.cli check "${overrides[@]}" "$@" >&2
  [[ $check == false ]] || exit 0
}

# Prints true or false for a variable that is 0, 1, false or true; stops at any other value.
switch() {
  case ${!1:-0} in
    0 | false) echo false ;;
    1 | true) echo true ;;
    *) echo "$1=${!1} is not allowed: it must be 0, 1, false or true." >&2; exit 2 ;;
  esac
}

# Adds a Hydra override with a text value to `overrides`, quoted: the text may hold blanks, commas, equal signs,
# braces and quotes.
add_text() {
  if [[ $2 == *[\\$'\n']* || $2 == *"\${"* ]]; then
    echo "${1#+}=$2 holds a backslash, a line break or \${, which Hydra reads in its own way: choose another name." >&2
    exit 2
  fi
  overrides+=("$1='${2//\'/\\\'}'")
}

# Adds a Hydra override with a number to `overrides`. Any other value becomes a text, and the checks refuse it by name.
add_number() {
  if [[ $2 =~ ^[-+.0-9eE]+$ ]]; then overrides+=("$1=$2"); else add_text "$1" "$2"; fi
}

# Runs a command for at most $1 seconds, then interrupts it as Ctrl-C would, says so, and returns 124. Where $1 is empty,
# the command takes the place of this shell. In the foreground: by itself `timeout` takes a command out of reach of the
# terminal's Ctrl-C.
within() {
  local limit=$1 begun=$SECONDS status=0
  shift
  [[ -n $limit ]] || exec "$@"
  attended timeout --foreground --signal=INT --kill-after=60 "$limit" "$@" || status=$?
  # 137: it did not end in time after the interruption, and was killed.
  (( status == 124 || status == 137 && SECONDS - begun >= limit )) || return "$status"
  echo "The time limit was over after $limit seconds: a higher TIME_LIMIT lets the run go on longer." >&2
  return 124
}
