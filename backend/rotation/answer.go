package rotation

import (
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
)

// answer turns the result of work into a response: an error if nothing was changed, or a report, with a warning if
// something is open.
func (e *Engine) answer(name string, res result) (*roles.Report, error) {
	if res.err != nil {
		return nil, res.err
	}
	if res.role == nil { // the role could not be read while work on it continues
		return &roles.Report{Role: name, View: credential.View{State: credential.StateUncertain}, TTL: role.OverdueTTL, Warning: res.note}, nil
	}
	report := e.Report(res.role, res.h)
	if res.asIs {
		report.Warning = res.note
		if res.lost {
			report.View.State = credential.StateUncertain
		}
		return report, nil
	}
	f := e.facts(res.role, res.h)
	if last := res.role.Retry.Last; last != nil {
		if res.dropped {
			if err := problem.OfOutcome(last.Class, f.NotSet()); err != nil {
				return nil, err
			}
		}
		if f.Failed() {
			text := strings.TrimSuffix(f.NotChanged()+". "+res.note, ". ")
			if err := problem.OfOutcome(last.Class, text); err != nil {
				return nil, err
			}
		}
	}
	report.Warning = f.Warning()
	if res.note != "" {
		report.Warning = strings.TrimSpace(report.Warning + " " + res.note + ".")
	}
	return report, nil
}

// Health returns the health of the mount, from memory, on the node that changes passwords.
func (e *Engine) Health() Health {
	out := Health{Report: e.health.Report(e.Now()), Complete: e.sweeper.isComplete(), Freeze: e.Gate.Freeze()}
	out.StorageFailure, out.StorageFailedAt = e.failures.OfStorage(e.Gate.StorageFailure(), out.Roles)
	return out
}

// Health is the health of a mount.
type Health struct {
	health.Report
	// Complete: every role has been read since the start.
	Complete bool
	// Freeze is the mount's freeze, or nil.
	Freeze *role.Freeze
	// StorageFailure says that Vault's storage fails, and StorageFailedAt is since when; "" if it does not.
	StorageFailure  string
	StorageFailedAt time.Time
}
