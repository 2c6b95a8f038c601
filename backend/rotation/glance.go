package rotation

import (
	"bytes"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"vault-plugin-secrets-hosting/backend/credential"
)

// glance reads of a role's entry what the scheduler and the board want to know of it, which costs a fraction of decoding it:
// a start looks at all roles. It does so for those that wait for their time, with nothing else to tell, and only if the entry
// has the form in which this version writes it. False: the entry is to be decoded, and may be damaged. The role has no
// passwords, and must not be stored.
func glance(name string, entry []byte) (*Role, bool) {
	if !bytes.HasPrefix(entry, ownHead) || !gjson.ValidBytes(entry) || !utf8.Valid(entry) {
		return nil, false
	}
	role := &Role{Name: name, Schema: schemaVersion}
	ok := each(gjson.ParseBytes(entry), roleMembers, func(key string, value gjson.Result) bool {
		switch key {
		case "schema", "target", "adopted":
			return true
		case "connection":
			return text(value, &role.Connection)
		case "provider":
			return text(value, &role.Provider)
		case "options":
			return glanceOptions(value, &role.Options)
		case "record":
			return glanceRecord(value, &role.Record)
		case "due":
			var due string
			return text(value, &due) && role.Due.UnmarshalText([]byte(due)) == nil
		default: // a failure, or a queued password
			return false
		}
	})
	timed := role.Options.RotationPeriod > 0 || role.Options.RotationSchedule != ""
	return role, ok && role.Record.Current != nil && (!timed || !role.Due.IsZero())
}

func glanceOptions(options gjson.Result, o *Options) bool {
	return each(options, optionMembers, func(key string, value gjson.Result) bool {
		switch key {
		case "rotation_period":
			o.RotationPeriod = int(value.Int())
			return value.Type == gjson.Number
		case "rotation_schedule":
			return text(value, &o.RotationSchedule)
		case "rotation_window":
			o.RotationWindow = int(value.Int())
			return value.Type == gjson.Number
		case "rotation_mode":
			return text(value, &o.RotationMode)
		case "disable_automated_rotation":
			o.Disabled = value.Bool()
			return value.IsBool()
		case "rotate_after_read": // storage knows of the first read
			return false
		default: // of no account to when something is to be done
			return true
		}
	})
}

func glanceRecord(record gjson.Result, r *credential.Record) bool {
	return each(record, recordMembers, func(key string, value gjson.Result) bool {
		switch key {
		case "current":
			r.Current = &credential.Current{}
			return each(value, currentMembers, func(key string, value gjson.Result) bool {
				switch key {
				case "confirmed":
					r.Current.Confirmed = value.Bool()
					return value.IsBool()
				case "refused":
					return false
				default:
					return true
				}
			})
		case "previous", "history", "forgotten", "quiet", "old_tries":
			return true
		default: // a password that is being set, or may be valid
			return false
		}
	})
}

// The members of the objects that are looked into, in the order in which they are written.
var (
	roleMembers    = members(reflect.TypeFor[Role]())
	optionMembers  = members(reflect.TypeFor[Options]())
	recordMembers  = members(reflect.TypeFor[credential.Record]())
	currentMembers = members(reflect.TypeFor[credential.Current]())
)

func members(object reflect.Type) (names []string) {
	for _, field := range reflect.VisibleFields(object) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && !field.Anonymous && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// each calls do with the members of an object until it returns false, and tells whether it never did. No object has others
// than those that are named, nor in another order, nor one of them twice.
func each(object gjson.Result, named []string, do func(key string, value gjson.Result) bool) bool {
	if !object.IsObject() {
		return false
	}
	ok := true
	object.ForEach(func(key, value gjson.Result) bool {
		for len(named) > 0 && named[0] != key.Str {
			named = named[1:]
		}
		if ok = len(named) > 0; ok {
			named = named[1:]
			ok = do(key.Str, value)
		}
		return ok
	})
	return ok
}

// text takes a string over, without keeping the entry in memory that it is a part of. One with escapes is left to the decoder.
func text(value gjson.Result, into *string) bool {
	*into = strings.Clone(value.Str)
	return value.Type == gjson.String && !strings.Contains(value.Raw, `\`)
}
