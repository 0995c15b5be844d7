package hub

import "golang.org/x/sys/windows"

// freeBytes returns the room that the disk of a folder has for this user.
func freeBytes(dir string) (int64, bool) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, &total, &all); err != nil {
		return 0, false
	}
	return int64(min(free, 1<<62)), true
}
