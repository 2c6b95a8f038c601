package health

import (
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/explain"
)

// Failure is how often in a row work on a role failed for a reason, and since when. It counts what made no call or could not
// be stored too, which the role itself does not record.
type Failure struct {
	Reason string
	Times  int
	Since  time.Time
	// Stuck explains it to operators; nil if other facts do.
	Stuck *explain.Stuck
}

// Failures has the last failure of each role. The zero value is empty. Its methods may be called concurrently, those that
// change one role under the role's lock.
type Failures struct{ byRole sync.Map }

// Get returns the last failure of a role; zero if there is none.
func (f *Failures) Get(name string) Failure {
	known, _ := f.byRole.Load(name)
	failure, _ := known.(Failure)
	return failure
}

// Count counts a failure of a role, and returns how often it has failed for this reason.
func (f *Failures) Count(name, reason string, now time.Time) Failure {
	known := f.Get(name)
	if known.Reason != reason {
		known = Failure{Reason: reason, Since: now}
	}
	known.Times++
	f.Put(name, known)
	return known
}

// Put replaces the failure of a role.
func (f *Failures) Put(name string, failure Failure) { f.byRole.Store(name, failure) }

// Forget removes the failure of a role: its work succeeded, or the role is gone.
func (f *Failures) Forget(name string) { f.byRole.Delete(name) }

// Mended forgets a failure that an operator had to mend, but not one of Vault's storage.
func (f *Failures) Mended(name string) {
	if known := f.Get(name); known.Stuck != nil && !known.Stuck.Storage {
		f.Forget(name)
	}
}

// OfStorage says that Vault's storage fails, and since when; "" if it does not. mount is the failure of the mount, which
// affects all roles, or nil. all is the number of all roles.
func (f *Failures) OfStorage(mount *explain.Stuck, all int) (text string, since time.Time) {
	first, roles := mount, 0
	f.byRole.Range(func(_, value any) bool {
		if known, _ := value.(Failure); known.Stuck != nil && known.Stuck.Storage {
			roles++
			if first == nil || known.Since.Before(first.Since) {
				first = known.Stuck
			}
		}
		return true
	})
	if first == nil {
		return "", since
	}
	if mount != nil {
		roles = all
	}
	return explain.StorageFailure(roles, first.Since, first.Reason), first.Since
}
