package mediatemple

import (
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// job is a change that has been accepted but is not in force yet.
type job struct {
	password string
	until    time.Time
	fails    bool
}

// settle completes the job of a credential if it is due. It is called before every
// access to a credential, so that no background work is needed.
func (a *API) settle(c *credential) {
	if c.job == nil || c.job.until.After(a.lab.Clock.Now()) {
		return
	}
	if c.job.fails {
		c.failed++
	} else {
		c.password = c.job.password
		c.changes++
	}
	c.job = nil
}

// accept queues a change and reports whether its job is going to succeed.
func (a *API) accept(c *credential, password string) bool {
	fails := a.switches.jobFails
	c.accepted++
	c.job = &job{password: password, until: a.lab.Clock.Now().Add(time.Duration(a.switches.jobMS) * time.Millisecond), fails: fails}
	return !fails
}

// pending reports whether a job conflicts with a change of the credential.
// Assumed: jobs of root and Plesk do not conflict. The documentation only mentions
// a "conflicting operation".
func (a *API) pending(s *service, c *credential) bool {
	a.settle(&s.root)
	a.settle(&s.plesk)
	if a.switches.jobs == "exclusive" {
		return s.root.job != nil || s.plesk.job != nil
	}
	return c.job != nil
}

// password returns the password in force.
func (a *API) password(c *credential) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(c)
	return c.password
}

// overwrite sets a password without the API.
func (a *API) overwrite(c *credential, password string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(c)
	c.password = password
}

// Hosts returns the ids of all services, in the order of the state.
func (a *API) Hosts() []string {
	var ids []string
	for _, s := range a.services { // no lock needed: the services never change
		ids = append(ids, s.id())
	}
	return ids
}

// HostName returns the host name of a service's server.
func (a *API) HostName(id string) string {
	if s := a.service(id); s != nil {
		return s.PrimaryDomain
	}
	return ""
}

// Admits reports whether the server of a service accepts an SSH login: only root,
// with the password in force.
func (a *API) Admits(id, user, password string) bool {
	s := a.service(id)
	return s != nil && user == "root" && lab.Same(a.password(&s.root), password)
}

// RootPassword returns the root password in force, or "" if there is no such
// service.
func (a *API) RootPassword(id string) string {
	if s := a.service(id); s != nil {
		return a.password(&s.root)
	}
	return ""
}
