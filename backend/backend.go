// Package backend implements the paths of the hosting secrets engine.
//
// Each path has a file of its own, with its fields, handlers and help. Handlers translate between fields and calls of
// package rotation, which decides what happens to passwords.
package backend

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/registry"
	"vault-plugin-secrets-hosting/backend/rotation"
	"vault-plugin-secrets-hosting/backend/store"
)

// Backend is one mount of the engine.
type Backend struct {
	*framework.Backend
	engine  *rotation.Engine
	types   []provider.Type
	guesses guesses
}

// Factory returns the factory of the plugin. Mounts report this version, which must be a semantic version with a leading
// "v".
func Factory(version string) logical.Factory {
	return func(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
		b := newBackend(version, registry.All())
		if err := b.Setup(ctx, conf); err != nil {
			return nil, fmt.Errorf("setting up the mount: %w", err)
		}
		b.engine = rotation.New(rotation.Config{
			Types: b.types, Policies: b.System(), Logger: b.Logger(), Writable: b.WriteSafeReplicationState,
			Events: b.sendOfRole,
		})
		return b, nil
	}
}

func newBackend(version string, types []provider.Type) *Backend {
	b := &Backend{types: types}
	b.Backend = &framework.Backend{
		Help:           strings.TrimSpace(backendHelp),
		BackendType:    logical.TypeLogical,
		RunningVersion: version,
		PathsSpecial: &logical.Paths{
			SealWrapStorage: store.SealWrapped(),
			Root:            []string{"history/*", "settings"}, // need the capability "sudo"
		},
		Paths: framework.PathAppend(
			b.configPaths(),
			b.rolePaths(),
			b.verifyPaths(),
			[]*framework.Path{b.credsPath(), b.rotatePath(), b.setPasswordPath(), b.confirmPath(), b.healthPath(), b.statusPath(), b.historyPath(), b.settingsPath(), b.freezePath()},
		),
		// The factory of an external plugin has no storage, so all work starts here.
		InitializeFunc: func(_ context.Context, req *logical.InitializationRequest) error {
			b.engine.Start(req.Storage)
			return nil
		},
		PeriodicFunc: func(context.Context, *logical.Request) error {
			b.engine.Wake()
			return nil
		},
		Invalidate: func(_ context.Context, key string) { b.engine.Invalidate(key) },
		Clean:      func(context.Context) { b.engine.Stop() },
	}
	describeLimits(b.Paths)
	return b
}

// HandleRequest rejects two kinds of requests before the framework sees them: those with unknown fields, about which it
// only warns, and those with a value of the wrong type, which it would print in its error, or of an unreasonable size.
func (b *Backend) HandleRequest(ctx context.Context, req *logical.Request) (resp *logical.Response, err error) {
	defer b.caught(req, &err)
	if problem := b.refuse(req); problem != "" {
		return complete(req, logical.ErrorResponse(problem), nil)
	}
	resp, err = b.Backend.HandleRequest(ctx, req)
	return complete(req, resp, err)
}

// HandleExistenceCheck leaves requests that HandleRequest rejects to HandleRequest.
func (b *Backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	defer b.caught(req, &err)
	if b.refuse(req) != "" {
		return true, true, nil
	}
	return b.Backend.HandleExistenceCheck(ctx, req)
}

// refuse returns what is wrong with a request, or "". It runs before the framework sees the request.
func (b *Backend) refuse(req *logical.Request) string {
	path := b.Route(req.Path)
	if path == nil {
		return ""
	}
	reading := req.Operation == logical.ReadOperation || req.Operation == logical.ListOperation
	switch req.Operation {
	case logical.ReadOperation, logical.ListOperation:
	case logical.CreateOperation, logical.UpdateOperation, logical.PatchOperation, logical.DeleteOperation:
	default:
		return ""
	}
	if path.Operations[req.Operation] == nil && path.Operations[logical.UpdateOperation] == nil && !reading {
		return "" // the framework reports that the path does not support the operation
	}
	if problem := badName(req.Path, req.Operation); problem != "" {
		return problem
	}
	var unknown []string
	for name, value := range req.Data {
		schema := path.Fields[name]
		if schema == nil && reading { // Vault has parameters of its own for lists
			continue
		}
		if schema == nil || schema.Query && !reading && req.Operation != logical.DeleteOperation {
			if len(name) > maxText || len(unknown) == maxUnknown {
				return fmt.Sprintf("the request has more than %d unknown fields, or one whose name is too long", maxUnknown)
			}
			unknown = append(unknown, fmt.Sprintf("%q%s", name, suggest(name, path.Fields)))
			continue
		}
		if value == nil && req.Operation == logical.PatchOperation {
			return name + " must not be null: give it a value, such as its default"
		}
		if problem := badInput(name, value, schema); problem != "" {
			return problem
		}
		if problem := badValue(req.Path, name, value, schema); problem != "" {
			return problem
		}
	}
	if len(unknown) == 0 {
		return ""
	}
	sort.Strings(unknown)
	text := "unknown field " + strings.Join(unknown, ", ")
	if !strings.Contains(text, "did you mean") {
		text += ": vault path-help " + mountPlaceholder + req.Path + " lists the fields"
	}
	return text
}

func badName(path string, operation logical.Operation) string {
	switch _, name, _ := strings.Cut(path, "/"); {
	case strings.Contains(path, ".."):
		return `a name must not contain ".."`
	case len(name) > maxText && operation == logical.CreateOperation: // an older version may have stored such a name
		return fmt.Sprintf("the name is too long: at most %d bytes are possible", maxText)
	default:
		return ""
	}
}

// badValue returns what is wrong with a value that the framework would print in its error or misinterpret, or "".
func badValue(path, name string, value any, schema *framework.FieldSchema) string {
	text, isText := value.(string)
	switch {
	case value == nil:
		return ""
	case name == "name" && (!isText || !strings.HasSuffix(path, "/"+text)):
		return "name is part of the path and must not differ from it"
	case schema.Type == framework.TypeInt && !wholeNumber(value):
		return name + " must be a whole number"
	case schema.Type == framework.TypeBool:
		if _, err := parseutil.ParseBool(value); err != nil {
			return name + " must be true or false"
		}
	case schema.Type == framework.TypeDurationSecond:
		return badDuration(name, value)
	}
	return ""
}

func wholeNumber(value any) bool {
	switch v := value.(type) {
	case float64:
		return v == math.Trunc(v)
	case json.Number:
		_, err := v.Int64()
		return err == nil
	case string: // the framework parses a number with a leading zero as octal
		n, err := strconv.Atoi(v)
		return err == nil && strconv.Itoa(n) == strings.TrimPrefix(v, "+")
	case int, int64:
		return true
	default:
		return false
	}
}

// badDuration returns what is wrong with a duration, or "".
func badDuration(name string, value any) string {
	d, err := parseutil.ParseDurationSecond(value)
	_, wrong := value.(bool)
	switch {
	case tooLong(fmt.Sprint(value)):
		return name + " is too large: at most 292 years are possible"
	case wrong, err != nil, d%time.Second != 0:
		return name + ` must be a duration in whole seconds: a number, or a string such as "90s", "5m", "24h" or "7d"`
	case d < 0:
		return name + " must not be negative"
	default:
		return ""
	}
}

// tooLong reports whether the text is a number of seconds, or one with a unit, that Go cannot hold as a duration.
func tooLong(text string) bool {
	unit := time.Second
	if last := len(text) - 1; last > 0 {
		if known, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[last]]; ok {
			text, unit = text[:last], known
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return (err == nil || errors.Is(err, strconv.ErrRange)) && math.Abs(n) > math.MaxInt64/float64(unit)
}

// suggest returns a hint that names the field that was probably meant, or "".
func suggest(name string, fields map[string]*framework.FieldSchema) string {
	squeeze := strings.NewReplacer("_", "", "-", "", " ", "")
	wanted := squeeze.Replace(strings.ToLower(name))
	var near []string
	for known := range fields {
		have := squeeze.Replace(known)
		if known != name && wanted != "" && (strings.Contains(have, wanted) || strings.Contains(wanted, have) || oneEdit(wanted, have)) {
			near = append(near, known)
		}
	}
	if len(near) == 0 {
		return ""
	}
	extra := func(known string) int { return max(len(known)-len(name), len(name)-len(known)) }
	closest := slices.MinFunc(near, func(a, b string) int { return cmp.Or(extra(a)-extra(b), strings.Compare(a, b)) })
	return fmt.Sprintf(" (did you mean %q?)", closest)
}

// oneEdit reports whether at most one letter added, dropped or changed, or two neighbours swapped, turn one word into the
// other.
func oneEdit(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

func secret(schema *framework.FieldSchema) bool {
	return schema.DisplayAttrs != nil && schema.DisplayAttrs.Sensitive
}

const backendHelp = `
The hosting secrets engine manages the passwords of accounts on hosting panels and clouds.

It generates passwords, stores them in Vault, sets them on the remote system, and returns the one that is in force. A
connection (config/:name) holds the address of a remote system and the credential for it. A role (roles/:name) names one
account on a connection. Read its password from creds/:name, rotate it with rotate-role/:name, and read its status from
status/:name.

A new password is stored before it is sent, and is kept until its outcome is known: see "state" in the help of
creds/:name.
`
