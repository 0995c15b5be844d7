//go:build linux || darwin

package hub

import "golang.org/x/sys/unix"

// freeBytes returns the room that the disk of a folder has for this user.
func freeBytes(dir string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	free := s.Bavail * uint64(s.Bsize)
	return int64(min(free, 1<<62)), true
}
