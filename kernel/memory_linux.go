package kernel

import "golang.org/x/sys/unix"

// adviseHuge is madvise(2) with MADV_HUGEPAGE. A system without large pages
// refuses, which is no loss.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
