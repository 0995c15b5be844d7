package formats

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncsTrees says that files need not be synced one by one.
const syncsTrees = true

// syncTree brings everything in a folder to the disk, at once: thousands of pictures one by one take minutes.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", dir, err), f.Close())
	}
	return f.Close()
}
