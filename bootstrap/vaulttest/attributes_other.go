//go:build !linux

package vaulttest

import "syscall"

// attributes give Vault a process group of its own, so that its plugins can be ended with it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
