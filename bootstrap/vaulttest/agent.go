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

// stopTime is how long an Agent may take to end by itself.
const stopTime = 10 * time.Second

// Agent is a running Vault Agent.
type Agent struct {
	// LogFile is where its log goes, at level trace, with what its commands print.
	LogFile string

	process *exec.Cmd
	exited  chan struct{}
}

// StartAgent runs the Vault binary as Vault Agent with a configuration file, which names the Vault to read from. Its
// environment has nothing of Vault's. The log is one of the [Vault.Records]. Stop it in the end.
func (v *Vault) StartAgent(config string) (*Agent, error) {
	log, err := v.agentLog()
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                             //nolint:errcheck // the process has its own
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

// agentLog makes a log for a further Agent.
func (v *Vault) agentLog() (*os.File, error) {
	v.agentsMu.Lock()
	defer v.agentsMu.Unlock()
	name := filepath.Join(v.dir, "agent-"+strconv.Itoa(len(v.agentLogs)+1)+".log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // below the test's folder
	if err != nil {
		return nil, fmt.Errorf("opening the log of Vault Agent: %w", err)
	}
	v.agentLogs = append(v.agentLogs, name)
	return log, nil
}

// Runs tells whether the Agent has not ended.
func (a *Agent) Runs() bool { return !closed(a.exited) }

// Stop asks the Agent to end, as a service manager does, and ends it with its commands if it does not.
func (a *Agent) Stop() {
	_ = a.process.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-a.exited:
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-a.process.Process.Pid, syscall.SIGKILL)
	<-a.exited
}
