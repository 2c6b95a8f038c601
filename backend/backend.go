// Package backend is the surface of the secrets engine in Vault: its paths, their fields and their help.
//
// One file holds one path: its fields, its handlers and its help. The handlers take fields in, call package rotation,
// and give fields out; what happens to passwords is decided there.
package backend

import (
	"context"
	"encoding/json"
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
)

// Backend is one mount of the engine.
type Backend struct {
	*framework.Backend
	engine *rotation.Engine
	types  []provider.Type
}

// Factory returns a factory of mounts that report the version, which has to be a semantic version with a leading "v".
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
			SealWrapStorage: rotation.SealWrapped(),
			Root:            []string{"history/*"}, // needs the capability "sudo"
		},
		Paths: framework.PathAppend(
			b.configPaths(),
			b.rolePaths(),
			[]*framework.Path{b.credsPath(), b.rotatePath(), b.setPasswordPath(), b.confirmPath(), b.healthPath(), b.statusPath(), b.historyPath(), b.settingsPath(), b.freezePath()},
		),
		// No storage is there in the factory of an external plugin: all work begins here.
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
	return b
}

// HandleRequest refuses what the framework would let pass: unknown fields, which it only warns about, and secrets of a
// wrong type, whose value it would print in its error.
func (b *Backend) HandleRequest(ctx context.Context, req *logical.Request) (resp *logical.Response, err error) {
	defer b.caught(req, &err)
	if problem := b.refuse(req); problem != "" {
		return logical.ErrorResponse(problem), nil
	}
	return b.Backend.HandleRequest(ctx, req)
}

// HandleExistenceCheck leaves requests that HandleRequest refuses to HandleRequest, which says why.
func (b *Backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	defer b.caught(req, &err)
	if b.refuse(req) != "" {
		return true, true, nil
	}
	return b.Backend.HandleExistenceCheck(ctx, req)
}

// refuse says what is wrong with a request before the framework looks at it; empty: nothing.
func (b *Backend) refuse(req *logical.Request) string {
	path := b.Route(req.Path)
	if path == nil {
		return ""
	}
	switch req.Operation {
	case logical.ReadOperation, logical.ListOperation:
		return badName(req.Path)
	case logical.CreateOperation, logical.UpdateOperation, logical.DeleteOperation:
	default:
		return ""
	}
	if path.Operations[req.Operation] == nil && path.Operations[logical.UpdateOperation] == nil {
		return "" // the framework says that the path cannot be written
	}
	if problem := badName(req.Path); problem != "" {
		return problem
	}
	var unknown []string
	for name, value := range req.Data {
		schema := path.Fields[name]
		if schema == nil {
			unknown = append(unknown, fmt.Sprintf("%q%s", name, suggest(name, path.Fields)))
			continue
		}
		if problem := badValue(req.Path, name, value, schema); problem != "" {
			return problem
		}
	}
	if len(unknown) == 0 {
		return ""
	}
	sort.Strings(unknown)
	return "unknown field " + strings.Join(unknown, ", ") + "; nothing was changed"
}

func badName(path string) string {
	if strings.Contains(path, "..") {
		return "a name must not contain two dots in a row"
	}
	return ""
}

// badValue says what is wrong with a value that the framework would print in its error, or take for another one.
func badValue(path, name string, value any, schema *framework.FieldSchema) string {
	text, isText := value.(string)
	switch {
	case value == nil:
		return ""
	case name == "name" && (!isText || !strings.HasSuffix(path, "/"+text)):
		return `the field "name" is part of the path, and differs from it in the request`
	case secret(schema) && !isText:
		return fmt.Sprintf("the field %q must be a string", name)
	case schema.Type == framework.TypeInt && !wholeNumber(value):
		return fmt.Sprintf("the field %q must be a whole number", name)
	case schema.Type == framework.TypeDurationSecond && !wholeSeconds(value):
		return fmt.Sprintf(`the field %q must be a time in whole seconds: a number, or a text such as "90s", "5m" or "24h"`, name)
	default:
		return ""
	}
}

func wholeNumber(value any) bool {
	switch v := value.(type) {
	case bool:
		return false
	case float64:
		return v == math.Trunc(v)
	case json.Number:
		_, err := v.Int64()
		return err == nil
	case string: // the framework takes a leading zero for an octal number
		n, err := strconv.Atoi(v)
		return err == nil && strconv.Itoa(n) == strings.TrimPrefix(v, "+")
	default:
		return true
	}
}

func wholeSeconds(value any) bool {
	if _, wrong := value.(bool); wrong {
		return false
	}
	d, err := parseutil.ParseDurationSecond(value)
	return err == nil && d%time.Second == 0
}

// suggest names the field that was probably meant.
func suggest(name string, fields map[string]*framework.FieldSchema) string {
	squeeze := strings.NewReplacer("_", "", "-", "", " ", "")
	wanted := squeeze.Replace(strings.ToLower(name))
	var best string
	for known := range fields {
		have := squeeze.Replace(known)
		if wanted == "" || !strings.Contains(have, wanted) && !strings.Contains(wanted, have) && !oneEdit(wanted, have) {
			continue
		}
		if best == "" || len(known) < len(best) || len(known) == len(best) && known < best {
			best = known
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// oneEdit tells whether two words differ by one letter added, dropped or changed.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i < len(a) && a[i+1:] == b[i+1:]
	}
	return a[i:] == b[i+1:]
}

func secret(schema *framework.FieldSchema) bool {
	return schema.DisplayAttrs != nil && schema.DisplayAttrs.Sensitive
}

// typeNames are the values of the field "provider".
func (b *Backend) typeNames() []string {
	names := make([]string, 0, len(b.types))
	for _, kind := range b.types {
		names = append(names, kind.Name())
	}
	slices.Sort(names)
	return names
}

const backendHelp = `
The hosting secrets engine owns passwords of accounts on hosting panels and clouds.

It generates passwords, stores them in Vault, pushes them to the remote system, and hands out the one that is in force.
A connection (config/:name) says how to reach a remote system, a role (roles/:name) names one account on it. Read a
password at creds/:name, change it with rotate-role/:name, and see how a role stands at status/:name.

A new password is stored before it is sent, and is kept until its fate is known: see "state" at creds/:name.
`
