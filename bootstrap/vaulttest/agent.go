package vaulttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// stopTime is how long Stop waits for an Agent to exit before it kills it.
const stopTime = 10 * time.Second

// Agent is a running Vault Agent.
type Agent struct {
	// LogFile is the path of its log, at level trace, which includes the output of its commands.
	LogFile string

	process *exec.Cmd
	exited  chan struct{}
}

// StartAgent runs the Vault binary as Vault Agent with a configuration file, which must name the Vault server. VAULT_*
// variables are removed from its environment. [Vault.Records] includes its log. The caller must call Stop.
func (v *Vault) StartAgent(config string) (*Agent, error) {
	log, err := v.agentLog()
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                             //nolint:errcheck // the process has its own file descriptor
	cmd := exec.Command(v.binary, "agent", "-config="+config, "-log-level=trace") //nolint:gosec,noctx // runs until it is stopped
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(environment(), "HOME="+filepath.Join(v.dir, "home"))
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting Vault Agent: %w", err)
	}
	a := &Agent{LogFile: log.Name(), process: cmd, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(a.exited) }()
	return a, nil
}

// agentLog creates a log file for another Agent.
func (v *Vault) agentLog() (*os.File, error) {
	v.agentsMu.Lock()
	defer v.agentsMu.Unlock()
	name := filepath.Join(v.dir, "agent-"+strconv.Itoa(len(v.agentLogs)+1)+".log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // in the test's folder
	if err != nil {
		return nil, fmt.Errorf("opening the log of Vault Agent: %w", err)
	}
	v.agentLogs = append(v.agentLogs, name)
	return log, nil
}

// Runs reports whether the Agent is still running.
func (a *Agent) Runs() bool { return !closed(a.exited) }

// Stop terminates the Agent with SIGTERM, as a service manager does, and kills it and its commands if it does not exit.
func (a *Agent) Stop() {
	_ = a.process.Process.Signal(syscall.SIGTERM) // it may have exited already
	select {
	case <-a.exited:
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-a.process.Process.Pid, syscall.SIGKILL)
	<-a.exited
}
