# authorize SESSION LOGIN PATH, keys on stdin: lets exactly these keys in.
find_session_user "$1" "$2" || wrong "there is no user $1 on the board; create it, or set mode to recreate and prepare the board again"
must_admit "$1"
set_keys "$3"
