package rotation

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

func options() role.Options {
	return role.Options{RotationMode: role.ModeAuto, MaxReadTTL: 300, HistorySize: 5, OnDrift: role.DriftReport}
}

// newRole returns the role "role" on the account "login".
func newRole(change func(*NewRole)) NewRole {
	in := NewRole{Name: "role", Connection: "conn", Target: provider.Settings{"login": "login"}, Options: options()}
	if change != nil {
		change(&in)
	}
	return in
}

func (r *rig) create(change func(*NewRole)) (*roles.Report, error) {
	return r.engine.Create(r.Context(), r.storage, newRole(change))
}

func (r *rig) mustCreate(change func(*NewRole)) {
	r.Helper()
	_, err := r.create(change)
	require.NoError(r, err)
}

// createDue creates the role "role" with a rotation_period.
func (r *rig) createDue(period time.Duration, change func(*role.Options)) {
	r.Helper()
	r.mustCreate(func(in *NewRole) {
		in.Options.RotationPeriod = int(period / time.Second)
		if change != nil {
			change(&in.Options)
		}
	})
}

func onRead(o *role.Options) { o.RotationMode = role.ModeOnRead }

// createRoles creates roles on accounts of the same names.
func (r *rig) createRoles(names ...string) {
	r.Helper()
	for _, name := range names {
		r.createAs(name, nil)
	}
}

// createAs creates a role on the account of the same name.
func (r *rig) createAs(name string, change func(*NewRole)) {
	r.Helper()
	r.mustCreate(func(in *NewRole) {
		in.Name, in.Target = name, provider.Settings{"login": name}
		if change != nil {
			change(in)
		}
	})
}

// roleNames returns n names.
func roleNames(n int) []string {
	names := make([]string, 0, n)
	for i := range n {
		names = append(names, fmt.Sprintf("role%d", i))
	}
	return names
}

// update changes options and target fields of the role "role".
func (r *rig) update(change func(*role.Options), target provider.Settings) {
	r.Helper()
	_, err := r.engine.Update(r.Context(), r.storage, "role", func(view *roles.View) (role.Options, provider.Settings, error) {
		options := view.Options
		if change != nil {
			change(&options)
		}
		return options, target, nil
	})
	require.NoError(r, err)
}

func (r *rig) deleteRole(force bool) error {
	return r.engine.Delete(r.Context(), r.storage, "role", force)
}

func (r *rig) rotate() (*roles.Report, error) { return r.rotateVersion(0) }

func (r *rig) mustRotate() *roles.Report {
	r.Helper()
	report, err := r.rotate()
	require.NoError(r, err)
	return report
}

// rotateFails asserts that a rotation fails with an error of that kind, and returns the message.
func (r *rig) rotateFails(kind problem.Kind) string {
	r.Helper()
	_, err := r.rotate()
	require.Equal(r, kind, kindOf(r.T, err))
	return err.Error()
}

func (r *rig) rotateVersion(version int) (*roles.Report, error) {
	return r.engine.Rotate(r.Context(), r.storage, "role", version)
}

// rotateOther rotates the role "other".
func (r *rig) rotateOther() error { return r.rotateAll("other")[0] }

// rotateAll rotates the roles at the same time, and returns their errors.
func (r *rig) rotateAll(names ...string) []error {
	answers := make(chan error, len(names))
	for _, name := range names {
		go func() {
			_, err := r.engine.Rotate(r.Context(), r.storage, name, 0)
			answers <- err
		}()
	}
	errs := make([]error, 0, len(names))
	for range names {
		errs = append(errs, <-answers)
	}
	return errs
}

// chosen is a password that an operator chooses.
const chosen = "chosenbyhand"

func (r *rig) setPassword(value string) (*roles.Report, error) {
	return r.engine.SetPassword(r.Context(), r.storage, "role", value)
}

func (r *rig) setPasswordFails(kind problem.Kind, value string) string {
	r.Helper()
	_, err := r.setPassword(value)
	require.Equal(r, kind, kindOf(r.T, err))
	return err.Error()
}

// firstRead is the read of a role that has no password yet.
func (r *rig) firstRead() (*roles.Report, error) {
	return r.engine.request(r.Context(), r.storage, "role", triggerRead, change{ifNone: true, reason: "first read"})
}

// follow is what a request does after it has waited for its password to be sent.
func (r *rig) follow(waiting context.Context, c change) (*roles.Report, error) {
	return r.engine.answer("role", r.engine.work(r.Context(), waiting, nil, r.store(), "role", intent{trigger: triggerRequest, follow: &c}))
}

func (r *rig) confirm(c Confirmation) (*roles.Report, error) {
	return r.engine.Confirm(r.Context(), r.storage, "role", c)
}

func (r *rig) mustConfirm(c Confirmation) *roles.Report {
	r.Helper()
	report, err := r.confirm(c)
	require.NoError(r, err)
	return report
}

// confirmFails asserts that a confirmation is refused, and returns the message.
func (r *rig) confirmFails(c Confirmation) string {
	r.Helper()
	_, err := r.confirm(c)
	require.Equal(r, problem.KindMistake, kindOf(r.T, err))
	return err.Error()
}

func (r *rig) read() credential.View {
	r.Helper()
	report, err := r.engine.Read(r.Context(), r.storage, "role")
	require.NoError(r, err)
	return report.View
}

func (r *rig) version() int {
	r.Helper()
	return r.read().Password.Version
}

func (r *rig) serve() *roles.Report {
	r.Helper()
	report, err := r.engine.Serve(r.Context(), r.storage, "role")
	require.NoError(r, err)
	return report
}

// serveNone reads the role "none", which has no password yet.
func (r *rig) serveNone() (*roles.Report, error) {
	return r.engine.Serve(r.Context(), r.storage, "none")
}

func (r *rig) status() *roles.Status {
	r.Helper()
	status, err := r.engine.Status(r.Context(), r.storage, "role")
	require.NoError(r, err)
	return status
}

func (r *rig) store() store.Store { return store.Store{Storage: r.storage} }

// role returns the role "role" as it is now.
func (r *rig) role() *role.Role {
	r.Helper()
	stored, err := r.engine.ReadRole(r.Context(), r.store(), "role")
	require.NoError(r, err)
	require.NotNil(r, stored)
	return stored
}

// exists reports whether storage has the entry.
func (r *rig) exists(key string) bool {
	r.Helper()
	entry, err := r.storage.Get(r.Context(), key)
	require.NoError(r, err)
	return entry != nil
}

// entries lists the keys under a prefix, with the prefix.
func (r *rig) entries(prefix string) (keys []string) {
	r.Helper()
	names, err := r.storage.List(r.Context(), prefix)
	require.NoError(r, err)
	for _, name := range names {
		keys = append(keys, prefix+name)
	}
	return keys
}

// requireState asserts the state and the versions of the password and of the next one; 0: none.
func (r *rig) requireState(state credential.State, version, next int) {
	r.Helper()
	view := r.read()
	require.Equal(r, state, view.State)
	require.Equal(r, version, versionOf(view.Password))
	require.Equal(r, next, versionOf(view.Next))
}

func versionOf(p *credential.Password) int {
	if p == nil {
		return 0
	}
	return p.Version
}

// requireVersion asserts the version of a role's password, and that it is the one in force on the remote system.
func (r *rig) requireVersion(name string, version int) {
	r.Helper()
	report, err := r.engine.Read(r.Context(), r.storage, name)
	require.NoError(r, err)
	require.Equal(r, version, report.View.Password.Version, name)
	require.Equal(r, r.remote.password(report.Username), report.View.Password.Value, name)
}

// requireKnown asserts that Vault has the password that is in force on the remote system.
func (r *rig) requireKnown() {
	r.Helper()
	require.True(r, r.knows(r.remote.password("login")), "Vault does not have the password that is in force")
}

// knows reports whether the role has the password, whatever has become of it.
func (r *rig) knows(value string) bool {
	r.Helper()
	return slices.ContainsFunc(r.role().Record.List(), func(p credential.Listed) bool { return p.Value == value })
}

func kindOf(t *testing.T, err error) problem.Kind {
	t.Helper()
	var known *problem.Error
	require.ErrorAs(t, err, &known)
	return known.Kind
}

func ptr[T any](v T) *T { return &v }
