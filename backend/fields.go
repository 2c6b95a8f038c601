package backend

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// operationPrefix begins the names of operations in OpenAPI.
const operationPrefix = "hosting"

// nameField is the name in a path.
func nameField(what string) *framework.FieldSchema {
	return &framework.FieldSchema{
		Type: framework.TypeString, Required: true,
		Description:  "Name of the " + what + ".",
		DisplayAttrs: &framework.DisplayAttributes{Name: "Name", Identifier: true},
	}
}

// merge puts the fields of all providers beside the common ones. Where several providers have a field, each says what it
// means there.
func merge(common map[string]*framework.FieldSchema, types []provider.Type, fields func(provider.Type) []provider.Field) map[string]*framework.FieldSchema {
	own := map[string]bool{}
	for name := range common {
		own[name] = true
	}
	for _, kind := range types {
		for _, field := range fields(kind) {
			if own[field.Name] {
				continue
			}
			text := fmt.Sprintf("(%s) %s", kind.Name(), field.Schema.Description)
			if known := common[field.Name]; known != nil {
				known.Description += " " + text
				if !reflect.DeepEqual(known.Default, field.Schema.Default) {
					known.Default = nil // each provider's text says its own
				}
				continue
			}
			schema := *field.Schema
			schema.Description = text
			schema.Required = false // by its provider, which says so
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

// defaultOf tells a field's default, which path-help does not show by itself.
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

// names is the set of field names that providers bring along.
func names(types []provider.Type, fields func(provider.Type) []provider.Field) map[string]bool {
	out := map[string]bool{}
	for _, kind := range types {
		for _, field := range fields(kind) {
			out[field.Name] = true
		}
	}
	return out
}

// given returns the value of a field that the request holds. JSON null counts as absent.
func given[T any](d *framework.FieldData, name string) *T {
	if d.Raw[name] == nil {
		return nil
	}
	value, ok := d.GetOk(name)
	if !ok {
		return nil
	}
	typed, ok := value.(T)
	if !ok {
		return nil
	}
	return &typed
}

// givenOf returns the given values of a set of fields.
func givenOf(d *framework.FieldData, wanted map[string]bool) provider.Settings {
	out := provider.Settings{}
	for name := range d.Raw {
		if !wanted[name] || d.Raw[name] == nil {
			continue
		}
		if value, ok := d.GetOk(name); ok {
			out[name] = value
		}
	}
	return out
}

// fail turns an error into what Vault makes a status code of. Coded errors go over gRPC by their type: they are never
// wrapped.
func fail(name string, err error) (*logical.Response, error) {
	var known *rotation.Error
	switch {
	case errors.Is(err, rotation.ErrNoRole):
		return logical.ErrorResponse("the role %q does not exist: list roles, or write roles/%s to make it", name, name), nil
	case errors.Is(err, rotation.ErrNoConnection):
		return logical.ErrorResponse("the connection %q does not exist: list config, or write config/%s to make it", name, name), nil
	case !errors.As(err, &known):
		return nil, err
	case known.Kind == rotation.KindUnreachable:
		return nil, logical.CodedError(http.StatusBadGateway, known.Message)
	case known.Kind == rotation.KindBusy:
		return nil, logical.CodedError(http.StatusServiceUnavailable, known.Message)
	default:
		return logical.ErrorResponse(known.Message), nil
	}
}

// response describes a successful answer for OpenAPI.
func response(description string, fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: description, Fields: fields}}}
}

// noContent describes an answer without a body.
func noContent(description string) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: description}}}
}

// listed describes the answer to a list.
func listed(what string) map[int][]framework.Response {
	return response("The names of all "+what+".", map[string]*framework.FieldSchema{
		"keys": {Type: framework.TypeStringSlice, Description: "Names.", Required: true},
	})
}

// display names an operation in OpenAPI.
func display(verb, suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: verb, OperationSuffix: suffix}
}

// writes are the properties of an operation that changes something: it runs where Vault may write.
func writes(handler framework.OperationFunc, summary string, responses map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: handler, Summary: summary, Responses: responses,
		ForwardPerformanceStandby: true, ForwardPerformanceSecondary: true,
	}
}

// reads are the properties of an operation that only reads storage.
func reads(handler framework.OperationFunc, summary string, responses map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{Callback: handler, Summary: summary, Responses: responses}
}

// outcomeFields are what a request that changes a password answers.
func outcomeFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"state":   {Type: framework.TypeString, Description: "How the role stands now; see creds/:name.", Required: true},
		"version": {Type: framework.TypeInt, Description: "Version of the password that creds/:name gives; absent if there is none."},
		"next_version": {
			Type:        framework.TypeInt,
			Description: "Version of the password that waits to come into force, in the states accepted, restart_required and uncertain; confirm-role takes it.",
		},
		"ttl": {Type: framework.TypeInt, Description: "Seconds until it pays to read creds/:name again.", Required: true},
	}
}

// outcome answers a request that changes a password. It never holds one.
func outcome(report *rotation.Report) *logical.Response {
	data := map[string]any{"state": string(report.View.State), "ttl": int64(report.TTL.Seconds())}
	if report.View.Password != nil {
		data["version"] = report.View.Password.Version
	}
	resp := &logical.Response{Data: data}
	if version := report.NextVersion(); version > 0 {
		data["next_version"] = version
	}
	if report.Warning != "" {
		resp.AddWarning(report.Warning)
	}
	return resp
}
