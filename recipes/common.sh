# Sourced by the recipes, in the repository's folder.

# The name of the recipe's table in environment.py: stops at a variable that looks like ours and is read by nobody.
known_environment() {
  "${PYTHON:-python3}" recipes/environment.py "$1" || exit 2
}

# A variable that is 0 or 1 (or false or true): prints true or false, and stops at anything else.
switch() {
  case ${!1:-0} in
    0 | false) echo false ;;
    1 | true) echo true ;;
    *) echo "$1=${!1} is neither 0 nor 1." >&2; exit 2 ;;
  esac
}

# Adds a key of Hydra with a text to `overrides`: quoted, so that the text may hold blanks, commas, equal signs,
# braces and quotes.
add_text() {
  if [[ $2 == *[\\$'\n']* || $2 == *'${'* ]]; then
    echo "${1#+}=$2 holds a backslash, a line break or \${, which Hydra reads in its own way: choose another name." >&2
    exit 2
  fi
  overrides+=("$1='${2//\'/\\\'}'")
}

# Adds a key of Hydra with a number to `overrides`. Anything else becomes a text, which the checks refuse by name.
add_number() {
  if [[ $2 =~ ^[-+.0-9eE]+$ ]]; then overrides+=("$1=$2"); else add_text "$1" "$2"; fi
}
