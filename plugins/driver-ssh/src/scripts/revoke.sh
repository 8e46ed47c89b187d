# revoke SESSION LOGIN PATH PROC: lets nobody in and ends the sessions of those who are. A user that is not there is
# not in.
find_session_user "$1" "$2" || exit 0
# Keys first, so that nobody comes in again; then, with nobody left who could interfere, once more.
set_keys "$3" </dev/null
if [ "$own" = no ]; then
    end_sessions "$uid" "$4"
    set_keys "$3" </dev/null
fi
