package vaulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// nodes is the number of nodes in a cluster: the smallest that tolerates the loss of one.
const nodes = 3

// askTime limits how long to wait for a node to name the active node. While a node takes over or steps down, it does not
// answer.
const askTime = 2 * time.Second

// Cluster is a Raft cluster of three Vault nodes, each a process with its own plugin directory. One node is active. The
// others are standbys, which forward requests to it and take over if it fails. The methods are not safe for concurrent use.
type Cluster struct {
	nodes []*Vault
}

// StartCluster starts three nodes, as [Start] does for one, and waits until all of them are voters and forward requests. The
// caller must call Stop.
func StartCluster(ctx context.Context, vaultBinary, pluginBinary, dir string, env ...string) (*Cluster, error) {
	c := &Cluster{nodes: make([]*Vault, nodes)}
	problems := make([]error, nodes)
	var group sync.WaitGroup
	for i := range nodes {
		group.Go(func() {
			c.nodes[i], problems[i] = start(ctx, vaultBinary, pluginBinary, filepath.Join(dir, fmt.Sprintf("node%d", i+1)))
		})
	}
	group.Wait()
	err := errors.Join(problems...)
	if err == nil {
		err = c.form(ctx, pluginBinary, env)
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// form initializes the first node and joins the others to it.
func (c *Cluster) form(ctx context.Context, pluginBinary string, env []string) error {
	first := c.nodes[0]
	if err := first.initialize(ctx, pluginBinary, env); err != nil {
		return err
	}
	// By default a node becomes a voter only ten seconds after it has joined.
	_, err := first.Client.Logical().WriteWithContext(ctx, "sys/storage/raft/autopilot/configuration",
		map[string]any{"server_stabilization_time": "1s"})
	if err != nil {
		return fmt.Errorf("configuring Raft: %w", err)
	}
	for _, node := range c.nodes[1:] {
		node.audit, node.unseal = first.audit, first.unseal
		node.Client.SetToken(first.Client.Token())
		joined, err := node.Client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: first.address})
		if err != nil {
			return fmt.Errorf("joining %s to the cluster: %w", node.Name(), err)
		}
		if !joined.Joined {
			return fmt.Errorf("joining %s to the cluster: Vault reports that it has not joined", node.Name())
		}
		if err := c.Unseal(ctx, node); err != nil {
			return err
		}
	}
	return wait(ctx, c.nodes, "all nodes are voters", func(ctx context.Context) bool { return first.voters(ctx) == nodes })
}

// voters returns the number of voters, according to this node.
func (v *Vault) voters(ctx context.Context) int {
	secret, err := v.Client.Logical().ReadWithContext(ctx, "sys/storage/raft/configuration")
	if err != nil || secret == nil {
		return 0
	}
	config, _ := secret.Data["config"].(map[string]any)
	servers, _ := config["servers"].([]any)
	n := 0
	for _, entry := range servers {
		if server, _ := entry.(map[string]any); server["voter"] == true {
			n++
		}
	}
	return n
}

// Nodes returns all nodes, including those that are sealed, killed or suspended.
func (c *Cluster) Nodes() []*Vault { return c.nodes }

// Active waits until one of the nodes is active, and returns it.
func (c *Cluster) Active(ctx context.Context) (*Vault, error) {
	node, _, err := c.activeAfter(ctx, time.Time{})
	return node, err
}

// activeAfter waits until a node is active that became so after the given time.
func (c *Cluster) activeAfter(ctx context.Context, before time.Time) (active *Vault, since time.Time, err error) {
	err = wait(ctx, c.running(), "one of the nodes is active", func(ctx context.Context) bool {
		for _, node := range c.running() {
			if at, ok := node.asked(ctx); ok && at.After(before) {
				active, since = node, at
				return true
			}
		}
		return false
	})
	return active, since, err
}

// asked asks a node whether it is active and since when.
func (v *Vault) asked(ctx context.Context) (since time.Time, active bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	since, err := v.activeSince(ctx)
	return since, err == nil
}

// Standbys returns the unsealed nodes that are not active.
func (c *Cluster) Standbys(ctx context.Context) ([]*Vault, error) {
	active, err := c.Active(ctx)
	if err != nil {
		return nil, err
	}
	var standbys []*Vault
	for _, node := range c.running() {
		if node != active && node.standby(ctx) {
			standbys = append(standbys, node)
		}
	}
	return standbys, nil
}

// activeLine is what a node logs when it becomes active.
const activeLine = "core: acquired lock, enabling active operation"

// Began returns the times at which nodes became active, according to their logs. This includes changes of leadership that no
// test asked for.
func (c *Cluster) Began() ([]time.Time, error) {
	var began []time.Time
	for _, node := range c.nodes {
		log, err := os.ReadFile(node.LogFile())
		if err != nil {
			return nil, fmt.Errorf("finding out when %s became active: %w", node.Name(), err)
		}
		for line := range bytes.Lines(log) {
			if !bytes.Contains(line, []byte(activeLine)) {
				continue
			}
			stamp, _, _ := strings.Cut(string(line), " ")
			at, err := time.Parse("2006-01-02T15:04:05.000Z0700", stamp)
			if err != nil {
				return nil, fmt.Errorf("finding out when %s became active: %w", node.Name(), err)
			}
			began = append(began, at)
		}
	}
	return began, nil
}

// StepDown makes the active node step down and returns when a node has taken over. That is another node, unless the others are
// unreachable.
func (c *Cluster) StepDown(ctx context.Context) error {
	active, since, err := c.activeAfter(ctx, time.Time{})
	if err != nil {
		return err
	}
	if err := active.Client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("making %s step down: %w", active.Name(), err)
	}
	_, _, err = c.activeAfter(ctx, since)
	return err
}

// Seal seals a node. If it was active, another takes over. Unseal makes it a standby.
func (c *Cluster) Seal(ctx context.Context, node *Vault) error {
	if err := node.Client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing %s: %w", node.Name(), err)
	}
	return nil
}

// Unseal unseals a node and waits until it is active or knows the active node.
func (c *Cluster) Unseal(ctx context.Context, node *Vault) error {
	if err := node.open(ctx); err != nil {
		return fmt.Errorf("%s: %w", node.Name(), err)
	}
	return node.joined(ctx)
}

// Kill kills a node and its plugins with SIGKILL. Restart starts it again.
func (c *Cluster) Kill(node *Vault) { node.kill() }

// Restart starts and unseals a node that was killed.
func (c *Cluster) Restart(ctx context.Context, node *Vault) error {
	if err := node.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", node.Name(), err)
	}
	return c.Unseal(ctx, node)
}

// Suspend stops the processes of a node and its plugins with SIGSTOP, like a machine that hangs: the other nodes lose it, and
// it does not know that it was gone. Resume continues it.
func (c *Cluster) Suspend(node *Vault) error {
	node.suspended = true
	return node.signal(syscall.SIGSTOP)
}

// Resume continues a suspended node and waits until it is active or knows the active node.
func (c *Cluster) Resume(ctx context.Context, node *Vault) error {
	node.suspended = false
	if err := node.signal(syscall.SIGCONT); err != nil {
		return err
	}
	return node.joined(ctx)
}

// signal sends a signal to a node and its plugins.
func (v *Vault) signal(signal syscall.Signal) error {
	pids, err := children(v.process.Process.Pid)
	if err != nil {
		return err
	}
	for _, pid := range append(pids, v.process.Process.Pid) {
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("signaling %s: %w", v.Name(), err)
		}
	}
	return nil
}

// Stop kills all nodes and their plugins.
func (c *Cluster) Stop() {
	for _, node := range c.nodes {
		if node != nil {
			node.Stop()
		}
	}
}

// running returns the nodes that are neither killed nor suspended.
func (c *Cluster) running() []*Vault {
	var running []*Vault
	for _, node := range c.nodes {
		if node.process != nil && !node.suspended {
			running = append(running, node)
		}
	}
	return running
}

// joined waits until the node is unsealed and either active or a standby that knows the active node.
func (v *Vault) joined(ctx context.Context) error {
	return v.wait(ctx, "has joined its cluster", func(ctx context.Context) bool { return v.active(ctx) || v.standby(ctx) })
}

// standby reports whether this is a standby that knows the active node.
func (v *Vault) standby(ctx context.Context) bool {
	health, err := v.Client.Sys().HealthWithContext(ctx)
	if err != nil || !health.Initialized || health.Sealed || !health.Standby {
		return false
	}
	leader, err := v.once.Sys().LeaderWithContext(ctx)
	return err == nil && leader.LeaderAddress != "" && leader.LeaderAddress != v.address
}
