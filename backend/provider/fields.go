package provider

import "github.com/hashicorp/vault/sdk/framework"

// TextField returns a text field.
func TextField(name, display, description string) Field {
	return Field{Name: name, Schema: &framework.FieldSchema{
		Type:         framework.TypeString,
		Description:  description,
		DisplayAttrs: &framework.DisplayAttributes{Name: display},
	}}
}

// SecretField returns a text field that is never returned on read.
func SecretField(name, display, description string) Field {
	field := TextField(name, display, description)
	field.Secret = true
	field.Schema.DisplayAttrs.Sensitive = true
	return field
}

// RequiredField returns a text field that must be given.
func RequiredField(name, display, description string) Field {
	field := TextField(name, display, description)
	field.Schema.Required = true
	return field
}

// OneOf restricts a field to these values. The first is the default, unless the field is required.
func (f Field) OneOf(values ...any) Field {
	f.Schema.AllowedValues = values
	if !f.Schema.Required {
		f.Schema.Default = values[0]
	}
	return f
}
