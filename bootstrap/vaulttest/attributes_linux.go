package vaulttest

import "syscall"

// attributes give Vault a process group of its own, so that its plugins can be ended with it, and end it with a test that is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
