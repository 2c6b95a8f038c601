package rotation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// variant is a remote system whose targets have a field that may be changed, and whose check of a target a test decides.
type variant struct {
	*remote
	target    provider.Result
	otherwise string
}

func (v *variant) TargetFields() []provider.Field {
	via := provider.Field{Name: "via", Schema: &framework.FieldSchema{Type: framework.TypeString}, Mutable: true}
	return append(v.remote.TargetFields(), via)
}

func (v *variant) OldPassword(t provider.Target) provider.OldPassword {
	out := v.remote.OldPassword(t)
	out.Otherwise = v.otherwise
	return out
}
func (v *variant) Open(provider.Connection) (provider.Client, error)            { return v, nil }
func (v *variant) CheckTarget(context.Context, provider.Target) provider.Result { return v.target }

// varies puts the variant in the place of the remote system.
func (r *rig) varies(target provider.Result) {
	r.engine.Stop()
	r.engine = New(Config{Types: []provider.Type{&variant{remote: r.remote, target: target}}, Policies: r})
	r.engine.Start(r.storage)
	after(0)
}

// other makes a second role on the connection.
func (r *rig) other() {
	r.Helper()
	r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
}

func (r *rig) explain() Status {
	r.Helper()
	status, err := r.engine.Explain(r.Context(), r.storage, "role")
	require.NoError(r, err)
	return status
}

// Time settles a queued password whether or not anybody could store it.
func TestAWordOrADeletionAfterTheQueuesTimeMeetsAPasswordThatIsInForce(t *testing.T) {
	unstored := map[string]func(r *rig) (over func()){
		"a node that must not write": func(r *rig) func() {
			r.readOnly.Store(true)
			return func() { r.readOnly.Store(false) }
		},
		"storage that fails": func(r *rig) func() {
			r.storage.failing(func(operation, _ string) error {
				if operation == "put" {
					return errors.New("disk full")
				}
				return nil
			})
			return func() { r.storage.failing(nil) }
		},
	}
	words := map[string]func(r *rig){
		"discard": func(r *rig) {
			r.confirm(Word{Version: 2, Discard: true})
			r.stands(credential.StateAssumed, 1, 0)
		},
		"delete": func(r *rig) {
			require.NoError(r, r.engine.Delete(r.Context(), r.storage, "role", false), "nothing is open")
		},
	}
	for why, unstored := range unstored {
		for what, word := range words {
			t.Run(why+", "+what, func(t *testing.T) {
				inFakeTime(t, func(t *testing.T, r *rig) {
					r.queues()
					r.mustCreate(nil)
					after(settleAfter)
					_, err := r.rotate()
					require.NoError(t, err)
					over := unstored(r)
					after(settleAfter + time.Second)
					over()
					stored, err := store{r.storage}.role(t.Context(), "role")
					require.NoError(t, err)
					require.NotNil(t, stored.Record.Next, "storage still says that it is queued")
					word(r)
				})
			})
		}
	}
}

func TestARoleThatIsQueuedAndUnfinishedActsAtTheEarlierTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	soon, late := now.Add(time.Minute), now.Add(time.Hour)
	for name, row := range map[string]struct {
		attempt, settles, at time.Time
		disabled             bool
	}{
		"the attempt":          {attempt: soon, settles: late, at: soon},
		"the queue":            {attempt: late, settles: soon, at: soon},
		"no attempt by itself": {attempt: soon, settles: late, at: late, disabled: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			role := Role{
				Record: recordAfter(t, now, "make", "send", "queued", "make"), SettlesAt: row.settles,
				Retry: Retry{NextAttempt: row.attempt}, Options: Options{Disabled: row.disabled},
			}
			at, waits := role.nextAction(time.Now())
			require.True(t, waits)
			require.Equal(t, row.at, at)
		})
	}
}

// update writes the role's options and target fields.
func (r *rig) update(change func(*Options), target provider.Settings) {
	r.Helper()
	_, err := r.engine.Update(r.Context(), r.storage, "role", func(role *Role) (Options, provider.Settings, error) {
		options := role.Options
		if change != nil {
			change(&options)
		}
		return options, target, nil
	})
	require.NoError(r, err)
}

func TestAnUpdateHastensWhatItMayHaveMended(t *testing.T) {
	busy := provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}
	for name, row := range map[string]struct {
		failure provider.Result
		change  func(*Options)
		target  provider.Settings
		hastens bool
	}{
		"another option after a refusal":  {failure: tooWeak, change: func(o *Options) { o.MaxReadTTL = 60 }, hastens: true},
		"equal options after a refusal":   {failure: tooWeak},
		"an equal field after a refusal":  {failure: tooWeak, target: provider.Settings{"via": "a"}},
		"another option while it is busy": {failure: busy, change: func(o *Options) { o.MaxReadTTL = 60 }},
		"another way while it is busy":    {failure: busy, target: provider.Settings{"via": "b"}, hastens: true},
		"the same way while it is busy":   {failure: busy, target: provider.Settings{"via": "a"}},
		"another way after a refusal":     {failure: tooWeak, target: provider.Settings{"via": "b"}, hastens: true},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.varies(provider.Result{Outcome: provider.Applied})
				r.mustCreate(func(in *NewRole) { in.Target["via"] = "a"; in.Options.Disabled = true })
				r.remote.set(always(row.failure, false))
				_, err := r.rotate()
				require.Error(t, err)
				r.remote.set(nil)
				calls := r.remote.count()
				r.update(row.change, row.target)
				_, err = r.rotate()
				if !row.hastens {
					require.Error(t, err)
					require.Equal(t, calls, r.remote.count(), "not before its time")
					return
				}
				require.NoError(t, err)
				require.Equal(t, calls+1, r.remote.count())
			})
		})
	}
}

func TestAnUpdateTrimsTheHistory(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		for range 4 {
			_, err := r.rotate()
			require.NoError(t, err)
		}
		require.Len(t, r.role().Record.List(), 5)
		r.update(func(o *Options) { o.HistorySize = 1 }, nil)
		require.Len(t, r.role().Record.List(), 3, "the one in force, the one before, and an older one")
	})
}

func TestAWordWhileTheEngineGoesOnKeepsWhenAndWhy(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.fleet()
		r.remote.set(always(partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"), false))
		_, err := r.rotate()
		require.NoError(t, err)
		before := r.role().Retry
		require.NotNil(t, before.Last)
		r.confirm(Word{Version: 2, Servers: []string{"a"}})
		require.Equal(t, before, r.role().Retry)
		require.Equal(t, "it is busy (E.1)", r.servers()["b"].LastError)
	})
}

func TestAWordDropsOldPasswordsOnlyWhereNothingIsOpen(t *testing.T) {
	holds := func(r *rig, value string) bool {
		for _, p := range r.role().Record.List() {
			if p.Value == value {
				return true
			}
		}
		return false
	}
	for name, open := range map[string]bool{"while one is queued": true, "while nothing is open": false} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 0 })
				first := r.read().Password.Value
				if open {
					r.remote.settles(time.Hour)
					r.remote.set(always(queuedAnswer, true))
					_, err := r.rotate()
					require.NoError(t, err)
				}
				r.confirm(Word{Password: "set elsewhere"})
				r.confirm(Word{Password: "set once more"})
				require.Equal(t, open, holds(r, first))
			})
		})
	}
}

func TestARefusedGivenPasswordDoesNotKeepAGeneratedOneWaiting(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(tooWeak, false))
		_, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Equal(t, KindMistake, kindOf(t, err))
		r.remote.set(nil)
		began := r.engine.Now()
		_, err = r.rotate()
		require.NoError(t, err)
		require.Equal(t, began, r.engine.Now(), "at once")
		r.stands(credential.StateActive, 2, 0)
	})
}

func TestWhatKeptAServerIsToldWhileTheOthersHaveThePassword(t *testing.T) {
	unreachable := provider.Result{Outcome: provider.Unreachable, Reason: "refused"}
	another := partly(provider.Busy, provider.ScopeTarget, "b", "a")
	another.Failures[0].Reason = "it is full"
	for name, row := range map[string]struct {
		first, second provider.Result
		last          string
	}{
		"nothing new is known":     {first: partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"), second: unreachable, last: "it is busy (E.1)"},
		"something else":           {first: partly(provider.Busy, provider.ScopeTarget, "b", "a", "c"), second: another, last: "it is full (E.1)"},
		"no server has taken it":   {first: partly(provider.Busy, provider.ScopeTarget, "b"), second: unreachable},
		"the others took it since": {first: partly(provider.Busy, provider.ScopeTarget, "b"), second: another, last: "it is full (E.1)"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.fleet()
				r.remote.set(always(row.first, false))
				_, _ = r.rotate() // an error where nothing was changed
				require.Equal(t, "it is busy (E.1)", r.servers()["b"].LastError)
				require.Empty(t, r.servers()["a"].LastError)
				r.remote.set(always(row.second, false))
				calls := r.remote.count()
				after(8 * time.Second)
				require.Equal(t, calls+1, r.remote.count())
				require.Equal(t, row.last, r.servers()["b"].LastError)
				r.remote.set(always(restartAnswer, false))
				after(time.Minute)
				r.stands(credential.StateRestartRequired, 1, 2)
				require.Empty(t, r.servers()["b"].LastError)
			})
		})
	}
}

func TestARefusedCredentialThatWorksIsTheRolesMatter(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		checks := r.remote.checked()
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Reason: "not allowed"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		require.ErrorContains(t, err, "the credential of config/conn works, so this is about the account alone")
		require.Equal(t, checks+1, r.remote.checked())
		require.Equal(t, provider.ScopeTarget, r.role().Retry.Last.Scope)
		require.Contains(t, r.explain().Advice, "The credential of config/conn works")
	})
}

func TestOnlyARefusedCredentialIsCheckedForANewRole(t *testing.T) {
	for scope, checks := range map[provider.Scope]int{provider.ScopeTarget: 0, provider.ScopeConnection: 1} {
		t.Run(string(scope), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.varies(provider.Result{Outcome: provider.Denied, Scope: scope, Code: "403", Reason: "no rights"})
				before := r.remote.checked()
				_, err := r.create(func(in *NewRole) { in.Options.SkipInitialRotation = true })
				require.Equal(t, KindUnreachable, kindOf(t, err))
				require.EqualError(t, err, "the role was not created: no rights (403); check the credential and the rights of config/conn")
				require.Equal(t, before+checks, r.remote.checked())
				role, err := r.engine.Role(t.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Nil(t, role)
				r.other()
			})
		})
	}
}

func TestAReadDoesNotSendAFirstPasswordOfUnknownFateAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.set(always(unknown, true))
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		after(time.Hour)
		r.remote.set(nil)
		report, err := r.engine.first(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Equal(t, r.remote.holds("login"), report.View.Password.Value)
		require.Equal(t, 1, r.remote.count())
	})
}

// What some servers have taken waits there, whatever became of the rest.
func TestARoleWhoseFirstPasswordSomeServersTookIsKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.parts = []string{"a", "b", "c"}
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 1 {
				return partly(provider.Rejected, provider.ScopePassword, "b", "a", "c"), false
			}
			return provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false
		})
		report, err := r.create(nil)
		require.NoError(t, err)
		require.Equal(t, credential.StateRestartRequired, report.View.State)
		require.NotEmpty(t, report.Warning)
		require.Len(t, r.role().Record.Candidates, 1)
		r.remote.set(always(restartAnswer, false))
		after(time.Minute)
		r.stands(credential.StateRestartRequired, 2, 0)
	})
}

func TestACreationThatIsUndoneGoesOnWithNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false))
		_, err := r.create(nil)
		require.EqualError(t, err, "the role was not created: refused; nothing is tried again before the next request")
	})
}
