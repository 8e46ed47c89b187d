# inventory ROOT: what the machine is made of, as JSON, from what the kernel shows under ROOT (empty: the machine's
# own). Nothing needs to be installed, nothing needs root.
root=$1

# string TEXT
string() {
    printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# content FILE: its first line, or nothing.
content() {
    line=''
    { IFS= read -r line <"$1" || :; } 2>/dev/null || :
    printf '%s' "$line" | tr -d '\000'
}

# first_of PATTERN FILE: what follows the colon or the equals sign in the first line that begins so.
first_of() {
    sed -n "s/^$1[[:space:]]*[:=][[:space:]]*//p" "$2" 2>/dev/null | head -n 1
}

# number TEXT: the text if it is one, else null.
number() {
    case $1 in
    '' | *[!0-9]*) printf 'null' ;;
    *) printf '%s' "$1" ;;
    esac
}

# words TEXT: a list of strings, split at blanks.
words() {
    separator='['
    for word in $1; do
        printf '%s' "$separator"
        string "$word"
        separator=,
    done
    [ "$separator" = , ] || printf '['
    printf ']'
}

set -f
printf '{"format":1'

printf ',"kernel":'
string "$(content "$root/proc/sys/kernel/osrelease")"
printf ',"hostname":'
string "$(content "$root/proc/sys/kernel/hostname")"
printf ',"architecture":'
string "$(uname -m)"
printf ',"os":{"id":'
string "$(first_of ID "$root/etc/os-release" | tr -d '"')"
printf ',"version":'
string "$(first_of VERSION_ID "$root/etc/os-release" | tr -d '"')"
printf '}'

cpuinfo=$root/proc/cpuinfo
model=$(first_of 'model name' "$cpuinfo")
[ -n "$model" ] || model=$(first_of 'Hardware' "$cpuinfo")
flags=$(first_of 'flags' "$cpuinfo")
[ -n "$flags" ] || flags=$(first_of 'Features' "$cpuinfo")
printf ',"cpu":{"count":'
number "$(grep -c '^processor' "$cpuinfo" 2>/dev/null || :)"
printf ',"model":'
string "$model"
printf ',"flags":'
words "$flags"
printf '}'

kib=$(first_of MemTotal "$root/proc/meminfo")
kib=${kib%% *}
printf ',"memory_mib":'
case $kib in
'' | *[!0-9]*) printf 'null' ;;
*) printf '%s' $((kib / 1024)) ;;
esac

set +f
printf ',"disks":['
separator=''
for disk in "$root"/sys/block/*; do
    name=${disk##*/}
    case $name in
    '*' | loop* | ram* | zram* | dm-* | md*) continue ;;
    esac
    sectors=$(content "$disk/size")
    case $sectors in
    '' | 0 | *[!0-9]*) continue ;;
    esac
    printf '%s{"name":' "$separator"
    string "$name"
    printf ',"bytes":%s,"model":' $((sectors * 512))
    string "$(content "$disk/device/model" | sed 's/ *$//')"
    printf ',"removable":'
    [ "$(content "$disk/removable")" = 1 ] && printf 'true' || printf 'false'
    printf '}'
    separator=,
done

printf '],"net":['
separator=''
for port in "$root"/sys/class/net/*; do
    name=${port##*/}
    case $name in
    '*' | lo) continue ;;
    esac
    printf '%s{"name":' "$separator"
    string "$name"
    printf ',"mac":'
    string "$(content "$port/address")"
    printf ',"state":'
    string "$(content "$port/operstate")"
    printf ',"physical":'
    [ -e "$port/device" ] && printf 'true' || printf 'false'
    printf '}'
    separator=,
done

printf '],"usb":['
separator=''
for device in "$root"/sys/bus/usb/devices/*; do
    [ -r "$device/idVendor" ] || continue
    printf '%s{"id":' "$separator"
    string "$(content "$device/idVendor"):$(content "$device/idProduct")"
    printf ',"manufacturer":'
    string "$(content "$device/manufacturer")"
    printf ',"product":'
    string "$(content "$device/product")"
    printf ',"serial":'
    string "$(content "$device/serial")"
    printf '}'
    separator=,
done

printf '],"pci":['
separator=''
for device in "$root"/sys/bus/pci/devices/*; do
    [ -r "$device/vendor" ] || continue
    vendor=$(content "$device/vendor") id=$(content "$device/device") class=$(content "$device/class")
    printf '%s{"id":' "$separator"
    string "${vendor#0x}:${id#0x}"
    printf ',"class":'
    string "${class#0x}"
    printf '}'
    separator=,
done

dmi=$root/sys/class/dmi/id
printf '],"dmi":{"vendor":'
string "$(content "$dmi/sys_vendor")"
printf ',"product":'
string "$(content "$dmi/product_name")"
printf ',"board":'
string "$(content "$dmi/board_name")"
printf ',"bios":'
string "$(content "$dmi/bios_version")"

tree=$root/proc/device-tree
printf '},"device_tree":{"model":'
string "$(content "$tree/model" 2>/dev/null)"
printf ',"compatible":'
words "$({ tr '\000' ' ' <"$tree/compatible" || :; } 2>/dev/null)"
printf '}}\n'
