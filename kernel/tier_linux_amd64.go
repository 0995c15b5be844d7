//go:build amd64 && !noasm

package kernel

import "syscall"

// askForTiles asks the kernel for the state of AMX's tile registers, which every thread
// of the process may use from then on, and reports whether it has them to give. It fails
// where the hypervisor or the kernel keeps them off.
//
// Source: Linux, Documentation/arch/x86/xstate.rst.
func askForTiles() bool {
	const reqXCompPerm, xTileData = 0x1023, 18
	_, _, err := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, reqXCompPerm, xTileData, 0)
	return err == 0
}
