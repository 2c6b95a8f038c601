package vaulttest

import "syscall"

// attributes puts Vault in its own process group, so that its plugins can be killed with it, and has the kernel kill it if the
// test process dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
