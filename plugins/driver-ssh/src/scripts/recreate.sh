# recreate SESSION LOGIN PROC: removes the session user with all that is theirs, and makes them anew.
[ "$(id -u)" = 0 ] || wrong "only root can create users, but the login user is $2; set user to root"
if find_session_user "$1" "$2"; then
    [ "$own" = no ] || wrong "user $1 is the login user and cannot be recreated; choose another session_user"
    end_sessions "$uid" "$3"
    for folder in /tmp /var/tmp /dev/shm; do
        [ ! -d "$folder" ] || find "$folder" -xdev ! -path "$folder" -user "$uid" -exec rm -rf {} + 2>/dev/null || :
    done
    rm -f "/var/spool/cron/crontabs/$1" "/var/spool/cron/$1"
    if command -v userdel >/dev/null 2>&1; then
        # 12: the home could not be removed (or was not there); looked at below.
        userdel -f -r "$1" >/dev/null 2>&1 || [ $? = 12 ] || userdel -f -r "$1"
    else
        deluser --remove-home "$1" >/dev/null
    fi
    case $home in
    /home/?*) rm -rf "$home" ;;
    esac
    [ -z "$(account "$1")" ] || { printf '%s\n' "user $1 is still there after it was removed" >&2; exit 1; }
fi
# The password is one that nothing matches, and not a lock: sshd lets a locked user in by no key.
if command -v useradd >/dev/null 2>&1; then
    useradd -m -p '*' "$1"
elif command -v adduser >/dev/null 2>&1; then
    adduser -D "$1" >/dev/null
    printf '%s:*\n' "$1" | chpasswd -e >/dev/null
else
    wrong "the board has neither useradd nor adduser; set mode to authorized-keys and create user $1 yourself"
fi
