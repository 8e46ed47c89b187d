# What the other scripts share. Everything that varies comes as a positional argument; nothing is pasted into the text.
# Only what POSIX has and what small systems (busybox) have of it.
set -eu
umask 077
LC_ALL=C
export LC_ALL

# Lines with this ending are Grove's own where a key file is shared with an admin.
mark=' grove-session'

# The config asks for something that this board does not have: trying again is of no use.
wrong() {
    printf '%s\n' "$1" >&2
    exit 78
}

# account USER: its line in the user database, or nothing.
account() {
    { getent passwd "$1" || grep "^$1:" /etc/passwd; } 2>/dev/null || :
}

# field NUMBER LINE
field() {
    printf '%s\n' "$2" | cut -d: -f"$1"
}

# find_session_user SESSION LOGIN: sets own, uid, gid and home. Fails when there is no such user.
find_session_user() {
    if [ "$1" = "$2" ]; then
        own=yes uid=$(id -u) gid=$(id -g) home=${HOME:?the login user has no home}
        return 0
    fi
    own=no
    line=$(account "$1")
    [ -n "$line" ] || return 1
    uid=$(field 3 "$line") gid=$(field 4 "$line") home=$(field 6 "$line")
    # A second name for root or for the login user would mean shutting out, and killing, the wrong one.
    [ "$uid" != 0 ] || wrong "user $1 is root by another name; choose a session_user of its own"
    [ "$uid" != "$(id -u)" ] || wrong "users $1 and $2 have the same uid; choose a session_user of its own"
    [ "$(id -u)" = 0 ] || wrong "only root can manage user $1, but the login user is $2; set user to root, or leave session_user out"
}

# must_admit USER: sshd turns away users who are locked, expired, or have a shell that is none; here it is said why. What only
# root can see is not looked at by others.
must_admit() {
    [ "$own" = no ] || return 0
    shell=$(field 7 "$line")
    case ${shell:-/bin/sh} in
    */nologin | */false) wrong "user $1 cannot log in: its shell is $shell; give it another with chsh" ;;
    esac
    [ -x "${shell:-/bin/sh}" ] || wrong "user $1 cannot log in: its shell $shell is not there"
    entry=$({ getent shadow "$1" || grep "^$1:" /etc/shadow; } 2>/dev/null || :)
    [ -n "$entry" ] || return 0
    expires=$(field 8 "$entry")
    [ -z "$expires" ] || [ "$expires" -gt "$(($(date +%s) / 86400))" ] ||
        wrong "user $1 cannot log in: the account has expired; see chage --expiredate"
    case $(field 2 "$entry") in
    '!'*)
        # With PAM, a locked password keeps nobody with a key out.
        { "$(command -v sshd || echo /usr/sbin/sshd)" -T 2>/dev/null || :; } | grep -qi '^usepam yes' ||
            wrong "user $1 cannot log in: the account is locked; unlock it with usermod --password '*' $1"
        ;;
    esac
}

# end_sessions UID PROC: kills every process of a user, until none is left.
end_sessions() {
    round=0
    while [ "$round" -lt 10 ]; do
        left=no
        for folder in "$2"/[0-9]*; do
            state='' uids=''
            {
                while read -r key first rest; do
                    case $key in
                    State:) state=$first ;;
                    Uid:) uids=" $(printf '%s' "$first $rest" | tr '\t' ' ') " ;;
                    esac
                done <"$folder/status"
            } 2>/dev/null || continue
            # A zombie is dead already; its parent has not looked yet.
            [ "$state" != Z ] || continue
            case $uids in
            *" $1 "*)
                left=yes
                kill -KILL "${folder##*/}" 2>/dev/null || :
                ;;
            esac
        done
        [ "$left" = yes ] || return 0
        round=$((round + 1))
        sleep 1
    done
    printf '%s\n' "some processes of uid $1 do not end" >&2
    exit 1
}

# key_file PATH: sets file and folder, with the folder there. PATH may be empty, absolute, or relative to the home.
key_file() {
    case $1 in
    '') file=$home/.ssh/authorized_keys ;;
    /*) file=$1 ;;
    *) file=$home/$1 ;;
    esac
    if [ "$own" = yes ]; then
        # An admin may keep the file elsewhere; a rename would replace the link.
        [ ! -L "$file" ] || file=$(readlink -f "$file")
        folder=$(dirname "$file")
        mkdir -p "$folder"
        return 0
    fi
    folder=$(dirname "$file")
    [ -n "$1" ] || {
        [ -d "$home" ] || wrong "the home $home of the session user is missing; create it, or set mode to recreate"
        # The user could write here: a link could lead to another user's keys.
        if [ -L "$folder" ] || [ ! -d "$folder" ]; then
            rm -f "$folder"
            mkdir -m 700 "$folder"
        fi
        rm -rf "$folder/authorized_keys2" "$folder/rc" "$folder/environment"
        chown -h "$uid:$gid" "$folder"
        chmod 700 "$folder"
    }
    [ -d "$folder" ] || wrong "the folder $folder for the session user's keys is missing; create it"
}

# set_keys PATH: lets in exactly the keys on stdin. Whoever reads the file meanwhile sees the old one or the new one.
set_keys() {
    key_file "$1"
    new=$(mktemp "$folder/.grove.XXXXXX")
    trap 'rm -f "$new"' EXIT
    if [ "$own" = yes ] && [ -f "$file" ]; then
        # 1: no line is left, which is well.
        grep -v "$mark\$" "$file" >"$new" || [ $? = 1 ]
    fi
    while IFS= read -r key; do
        printf '%s%s\n' "$key" "$mark" >>"$new"
    done
    if [ "$own" = no ]; then
        chown -h "$uid:$gid" "$new"
        [ ! -d "$file" ] || [ -L "$file" ] || rm -rf "$file"
    fi
    chmod 600 "$new"
    mv -f "$new" "$file"
    ! command -v restorecon >/dev/null 2>&1 || restorecon "$folder" "$file" 2>/dev/null || :
}
