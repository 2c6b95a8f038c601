package backend

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/roles"
)

// guessInterval is how long the password of a role is not compared again after a wrong one.
const guessInterval = time.Second

// guesses counts the wrong passwords in updates of roles. Whoever may write a role may not read its password, and must not
// find it out by trying. The zero value is empty.
type guesses struct {
	mu     sync.Mutex
	byRole map[string]guess
}

type guess struct {
	wrong int
	last  time.Time
}

// check compares the password in an update of a role with the one with which the role was created, because tools repeat it.
// It returns an error if it is another one. Once nobody can tell any more, it returns a warning, or an error if the update has
// no other field, as a tool's would.
func (g *guesses) check(logger hclog.Logger, name, password string, alone bool, stored *roles.View) (warning string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.byRole[name]
	if time.Since(was.last) < guessInterval { // before the comparison: otherwise the right one would be told apart
		return "", problem.Busy("nothing was changed: a wrong password was written to role %q less than a second ago. Try again in a second", name)
	}
	switch is, known := stored.AdoptedIs(password); {
	case is:
		return "", nil
	case !known && stored.Adopted() && !alone:
		return "password was ignored: it is accepted on create only, and the password of the role has been changed since. To set another password, write set-password/" + name +
			"; to state which one is in force, write confirm-role/" + name + ".", nil
	case known:
		if g.byRole == nil {
			g.byRole = map[string]guess{}
		}
		was = guess{wrong: was.wrong + 1, last: time.Now()}
		g.byRole[name] = was
		logger.Warn("an update of a role had a wrong password", "role", name, "wrong_passwords", was.wrong)
	}
	return "", problem.Mistake("password is accepted on create only: to set another password, write set-password/%s; to state which one is in force, write confirm-role/%s", name, name)
}

// forget forgets a deleted role.
func (g *guesses) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.byRole, name)
}
