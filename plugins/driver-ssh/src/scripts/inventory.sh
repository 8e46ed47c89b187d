# inventory ROOT: what the kernel shows of the machine under ROOT (empty: the machine's own), a value a line: KIND/NAME/FIELD,
# a tab, the value. What is not there, or only for root, is not told. The shell reads by itself wherever it can: that needs
# nothing installed, and no time on a slow board.
root=$1
# No more of a kind.
most=1000

# tell KEY VALUE
tell() {
    [ -z "$2" ] || printf '%s\t%.4000s\n' "$1" "$2"
}

# tell_first KEY FILE: its first line.
tell_first() {
    line=''
    { IFS= read -r line <"$2" || :; } 2>/dev/null || :
    tell "$1" "$line"
}

# find_driver FOLDER: sets driver to the one that the kernel has for a device.
find_driver() {
    driver=''
    {
        while IFS='=' read -r key value; do
            [ "$key" != DRIVER ] || driver=$value
        done <"$1/uevent"
    } 2>/dev/null || :
}

# room KIND: whether one more may be told.
room() {
    number=$((number + 1))
    [ "$number" -gt "$most" ] || return 0
    tell cut//kind "$1"
    return 1
}

tell system//arch "$(uname -m 2>/dev/null || :)"
tell_first system//kernel "$root/proc/sys/kernel/osrelease"
tell_first system//hostname "$root/proc/sys/kernel/hostname"
for field in sys_vendor product_name product_serial product_uuid board_vendor board_name bios_vendor bios_version; do
    tell_first "dmi//$field" "$root/sys/class/dmi/id/$field"
done
tree=$root/proc/device-tree
[ -d "$tree" ] || tree=$root/sys/firmware/devicetree/base
tell_first tree//model "$tree/model"
tell_first tree//serial "$tree/serial-number"
tell tree//compatible "$({ tr '\000' ' ' <"$tree/compatible"; } 2>/dev/null || :)"
[ ! -d "$root/sys/firmware/efi" ] || tell boot//efi yes

{
    while IFS='=' read -r key value; do
        case $key in
        ID | VERSION_ID) tell "os//$key" "$value" ;;
        esac
    done <"$root/etc/os-release"
} 2>/dev/null || :

{
    while read -r key value rest; do
        [ "$key" != MemTotal: ] || tell memory//kib "$value"
    done <"$root/proc/meminfo"
} 2>/dev/null || :

count=0
{
    while IFS= read -r line; do
        case $line in
        processor*) count=$((count + 1)) ;;
        Hardware* | Serial* | Model*) tell cpu//line "$line" ;;
        *) [ "$count" -gt 1 ] || tell cpu//line "$line" ;;
        esac
    done <"$root/proc/cpuinfo"
} 2>/dev/null || :
tell cpu//count "$count"

number=0
for disk in "$root"/sys/block/*; do
    name=${disk##*/}
    case $name in
    '*' | loop* | ram* | zram* | dm-* | md* | nbd* | sr* | fd* | mtdblock* | mmcblk*boot* | mmcblk*rpmb) continue ;;
    esac
    room disk || break
    tell_first "disk/$name/sectors" "$disk/size"
    tell_first "disk/$name/rotational" "$disk/queue/rotational"
    tell_first "disk/$name/removable" "$disk/removable"
    tell_first "disk/$name/model" "$disk/device/model"
    tell_first "disk/$name/name" "$disk/device/name"
done

number=0
for port in "$root"/sys/class/net/*; do
    # Bridges, tunnels and the like are no hardware.
    [ -e "$port/device" ] || continue
    room net || break
    name=${port##*/}
    # Every one is told, also one that says nothing of itself.
    tell "net/$name/name" "$name"
    tell_first "net/$name/mac" "$port/address"
    tell_first "net/$name/speed" "$port/speed"
    find_driver "$port/device"
    tell "net/$name/driver" "$driver"
done

number=0
for device in "$root"/sys/bus/usb/devices/*; do
    name=${device##*/}
    case $name in
    '*') continue ;;
    *:*)
        class=''
        for field in bInterfaceClass bInterfaceSubClass bInterfaceProtocol; do
            line=''
            { IFS= read -r line <"$device/$field" || :; } 2>/dev/null || :
            class=$class/$line
        done
        tell "interface/$name/class" "${class#/}"
        find_driver "$device"
        tell "interface/$name/driver" "$driver"
        for tty in "$device"/ttyUSB* "$device"/tty/tty*; do
            [ ! -e "$tty" ] || tell "interface/$name/tty" "${tty##*/}"
        done
        ;;
    *)
        room usb || break
        for field in idVendor idProduct manufacturer product serial; do
            tell_first "usb/$name/$field" "$device/$field"
        done
        ;;
    esac
done

number=0
for device in "$root"/sys/bus/pci/devices/*; do
    name=${device##*/}
    [ "$name" != '*' ] || continue
    room pci || break
    for field in vendor device class; do
        tell_first "pci/$name/$field" "$device/$field"
    done
    find_driver "$device"
    tell "pci/$name/driver" "$driver"
done

number=0
for port in "$root"/sys/class/tty/*; do
    # Consoles and pseudo terminals have no device.
    [ -e "$port/device" ] || continue
    room tty || break
    name=${port##*/}
    find_driver "$port/device"
    # Newer kernels have a controller and a port between the device and its name.
    [ "$driver" != port ] || find_driver "$port/device/../.."
    tell "tty/$name/name" "$name"
    tell "tty/$name/driver" "$driver"
    tell_first "tty/$name/type" "$port/type"
done
