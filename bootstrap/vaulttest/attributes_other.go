//go:build !linux

package vaulttest

import "syscall"

// attributes puts Vault in its own process group, so that its plugins can be killed with it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
