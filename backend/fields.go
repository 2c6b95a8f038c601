package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
)

// operationPrefix begins the names of operations in OpenAPI.
const operationPrefix = "hosting"

// nameField returns the field of the name in a path.
func nameField(what string) *framework.FieldSchema {
	return &framework.FieldSchema{
		Type: framework.TypeString, Required: true,
		Description:  "Name of the " + what + ".",
		DisplayAttrs: &framework.DisplayAttributes{Name: "Name", Identifier: true},
	}
}

// merge adds the fields of all providers to the common ones. If several providers have a field, its description lists what
// it means for each.
func merge(common map[string]*framework.FieldSchema, types []provider.Type, fields func(provider.Type) []provider.Field) map[string]*framework.FieldSchema {
	own := maps.Clone(common)
	for _, kind := range types {
		for _, field := range fields(kind) {
			if own[field.Name] != nil {
				continue
			}
			text := fmt.Sprintf("(%s) %s", kind.Name(), field.Schema.Description)
			if known := common[field.Name]; known != nil {
				known.Description += " " + text
				if !reflect.DeepEqual(known.Default, field.Schema.Default) {
					known.Default = nil // each provider describes its own
				}
				if attrs := known.DisplayAttrs; attrs != nil && attrs.Name != displayName(field.Schema) {
					attrs.Name = strings.ReplaceAll(strings.ToUpper(field.Name[:1])+field.Name[1:], "_", " ")
				}
				continue
			}
			schema := *field.Schema
			schema.Description = text
			schema.Required = false // only its provider requires it, and its description says so
			if field.Secret {
				attrs := framework.DisplayAttributes{}
				if schema.DisplayAttrs != nil {
					attrs = *schema.DisplayAttrs
				}
				attrs.Sensitive = true
				schema.DisplayAttrs = &attrs
			}
			common[field.Name] = &schema
		}
	}
	for _, schema := range common {
		schema.Description += defaultOf(schema)
	}
	return common
}

// displayName returns the name of a field in user interfaces, or "".
func displayName(schema *framework.FieldSchema) string {
	if schema.DisplayAttrs == nil {
		return ""
	}
	return schema.DisplayAttrs.Name
}

// defaultOf returns a field's default as a sentence, because path-help does not show it.
func defaultOf(schema *framework.FieldSchema) string {
	switch value := schema.Default.(type) {
	case nil:
		return ""
	case []string:
		return fmt.Sprintf(" Default: %s.", strings.Join(value, ","))
	default:
		return fmt.Sprintf(" Default: %v.", value)
	}
}

// option is one field of a stored T and its value. One table of options describes, reads and writes all of them.
type option[T any] struct {
	name   string
	schema framework.FieldSchema
	value  func(*T) any // a pointer to int, bool, string or []string, or a form
}

// form is a value that requests and responses have in another form than the stored one.
type form interface {
	read() any
	write(value any)
}

// addOptions adds the fields of options to others.
func addOptions[T any](fields map[string]*framework.FieldSchema, options []option[T]) map[string]*framework.FieldSchema {
	for _, o := range options {
		fields[o.name] = &o.schema
	}
	return fields
}

// values returns the values of options.
func values[T any](options []option[T], from *T) map[string]any {
	data := map[string]any{}
	for _, o := range options {
		if other, ok := o.value(from).(form); ok {
			data[o.name] = other.read()
			continue
		}
		value := reflect.ValueOf(o.value(from)).Elem()
		if value.Kind() == reflect.Slice && value.IsNil() { // which would be JSON null
			value = reflect.MakeSlice(value.Type(), 0, 0)
		}
		data[o.name] = value.Interface()
	}
	return data
}

// apply sets the options that the request contains.
func apply[T any](d *framework.FieldData, options []option[T], to *T) {
	for _, o := range options {
		value := given[any](d, o.name)
		if value == nil {
			continue
		}
		if other, ok := o.value(to).(form); ok {
			other.write(*value)
			continue
		}
		reflect.ValueOf(o.value(to)).Elem().Set(reflect.ValueOf(*value))
	}
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// given returns the value of a field of the request, or nil if it is absent or JSON null.
func given[T any](d *framework.FieldData, name string) *T {
	if d.Raw[name] == nil {
		return nil
	}
	value, _ := d.GetOk(name)
	if typed, ok := value.(T); ok {
		return &typed
	}
	return nil
}

// givenOf returns the values of those fields of providers that the request contains.
func givenOf(d *framework.FieldData, types []provider.Type, fields func(provider.Type) []provider.Field) provider.Settings {
	out := provider.Settings{}
	for _, kind := range types {
		for _, field := range fields(kind) {
			if value := given[any](d, field.Name); value != nil {
				out[field.Name] = *value
			}
		}
	}
	return out
}

// fail turns an error into one from which Vault derives the status code. Coded errors cross gRPC by their type, so they
// must not be wrapped.
func fail(name string, err error) (*logical.Response, error) {
	var known *problem.Error
	switch {
	case errors.Is(err, problem.ErrNoRole):
		return logical.ErrorResponse("role %q does not exist: vault list MOUNT/roles lists those that do, and a write to roles/%s creates it", name, name), nil
	case errors.Is(err, problem.ErrNoConnection):
		return logical.ErrorResponse("connection %q does not exist: vault list MOUNT/config lists those that do, and a write to config/%s creates it", name, name), nil
	case !errors.As(err, &known):
		return nil, err
	case known.Kind == problem.KindMistake:
		return logical.ErrorResponse(known.Message), nil
	default:
		return nil, logical.CodedError(int(known.Kind), known.Message)
	}
}

// response describes a successful response for OpenAPI.
func response(description string, fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: description, Fields: fields}}}
}

// noContent describes a response without a body for OpenAPI.
func noContent(description string) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: description}}}
}

// listPath returns the path that lists all connections or roles.
func listPath(pattern, what, synopsis, help string, list func(context.Context, logical.Storage) ([]string, error)) *framework.Path {
	return &framework.Path{
		Pattern:         pattern,
		DisplayAttrs:    display("list", what),
		Operations:      map[logical.Operation]framework.OperationHandler{logical.ListOperation: lists(what, list)},
		HelpSynopsis:    synopsis,
		HelpDescription: help,
	}
}

// lists returns the operation that lists all connections or roles.
func lists(what string, list func(context.Context, logical.Storage) ([]string, error)) *framework.PathOperation {
	handler := func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
		names, err := list(ctx, req.Storage)
		if err != nil {
			return nil, err
		}
		return logical.ListResponse(names), nil
	}
	return reads(handler, "List "+what+".", response("Names of all "+what+".", map[string]*framework.FieldSchema{
		"keys": {Type: framework.TypeStringSlice, Description: "Names.", Required: true},
	}))
}

// display names an operation in OpenAPI.
func display(verb, suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: verb, OperationSuffix: suffix}
}

// writes returns an operation that changes something. Nodes that cannot write to storage forward it.
func writes(handler framework.OperationFunc, summary string, responses map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: handler, Summary: summary, Responses: responses,
		ForwardPerformanceStandby: true, ForwardPerformanceSecondary: true,
	}
}

// reads returns an operation that only reads storage.
func reads(handler framework.OperationFunc, summary string, responses map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{Callback: handler, Summary: summary, Responses: responses}
}

// outcomeFields returns the response fields of a request that changes a password.
func outcomeFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"state":   {Type: framework.TypeString, Description: "State of the role after the request; see creds/:name.", Required: true},
		"version": {Type: framework.TypeInt, Description: "Version of the password that creds/:name returns. Absent if there is none. Send it with the next rotate-role, so that a repetition of that request makes no second change."},
		"next_version": {
			Type:        framework.TypeInt,
			Description: "Version of the password that is not known to be in force yet, in the states accepted, restart_required and uncertain. Use it with confirm-role.",
		},
		"ttl": {Type: framework.TypeInt, Description: "Seconds after which to read creds/:name again.", Required: true},
	}
}

// outcome returns the response to a request that changes a password of a role, or sets options. It contains no password.
func outcome(name string, report *roles.Report, err error, set ...role.Options) (*logical.Response, error) {
	if err != nil {
		return fail(name, err)
	}
	data := map[string]any{"state": string(report.View.State), "ttl": int64(report.TTL.Seconds())}
	if report.View.Password != nil {
		data["version"] = report.View.Password.Version
	}
	put(data, "next_version", report.NextVersion)
	resp := &logical.Response{Data: data}
	if report.Warning != "" {
		resp.AddWarning(report.Warning)
	}
	for _, options := range set {
		for _, warning := range options.Warnings(time.Now()) {
			resp.AddWarning(warning)
		}
	}
	return resp, nil
}
