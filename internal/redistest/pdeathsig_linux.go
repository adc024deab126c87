package redistest

import "syscall"

// dieWithParent has the kernel kill the child when the thread that started it ends,
// which is why [startProcess] keeps that thread.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
