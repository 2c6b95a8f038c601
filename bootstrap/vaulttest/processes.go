package vaulttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// closed reports whether the channel is closed, which means that its process has exited.
func closed(exited <-chan struct{}) bool {
	select {
	case <-exited:
		return true
	default:
		return false
	}
}

// children returns the ids of a process's child processes.
func children(parent int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return childrenByPS(parent)
	}
	var pids []int
	for _, file := range stats {
		data, err := os.ReadFile(file) //nolint:gosec // a file of /proc
		if err != nil {
			continue // the process has exited
		}
		// pid (command) state ppid …; the command may contain any character
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// childrenByPS implements children on systems without /proc.
func childrenByPS(parent int) ([]int, error) {
	out, err := exec.CommandContext(context.Background(), "ps", "-axo", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(fields[0]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// peakMemory returns the most memory that a process has had resident, in bytes.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	var kilobytes int64
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("no VmHWM in the status of process %d", pid)
}

// PeakMemory returns the most memory that Vault and its plugin processes have used, in bytes, where Linux tells.
func (v *Vault) PeakMemory() (ofVault, ofPlugin int64, err error) {
	pids, err := children(v.process.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range pids {
		peak, err := peakMemory(pid)
		if err != nil {
			return 0, 0, err
		}
		ofPlugin += peak
	}
	ofVault, err = peakMemory(v.process.Process.Pid)
	return ofVault, ofPlugin, err
}
