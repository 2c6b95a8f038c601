package rotation

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"

	"vault-plugin-secrets-hosting/backend/credential"
)

// glance reads of a role's entry what the scheduler and the board want to know of it, which costs a fraction of decoding it:
// a start looks at all roles. It does so for those that wait for their time, with nothing else to tell. False: the entry is
// to be decoded, and may be damaged. The role has no passwords, and must not be stored.
func glance(name string, entry []byte) (*Role, bool) {
	if !bytes.HasPrefix(entry, ownHead) || !gjson.ValidBytes(entry) {
		return nil, false
	}
	role := &Role{Name: name, Schema: schemaVersion}
	ok := each(gjson.ParseBytes(entry), func(key string, value gjson.Result) bool {
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
			return value.Type == gjson.String && role.Due.UnmarshalText([]byte(value.Str)) == nil
		default: // a failure, or a queued password
			return false
		}
	})
	timed := role.Options.RotationPeriod > 0 || role.Options.RotationSchedule != ""
	return role, ok && role.Record.Current != nil && (!timed || !role.Due.IsZero())
}

func glanceOptions(options gjson.Result, o *Options) bool {
	return each(options, func(key string, value gjson.Result) bool {
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
	return each(record, func(key string, value gjson.Result) bool {
		switch key {
		case "current":
			r.Current = &credential.Current{}
			return each(value, func(key string, value gjson.Result) bool {
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

// each calls do with the members of an object until it returns false, and tells whether it never did.
func each(object gjson.Result, do func(key string, value gjson.Result) bool) bool {
	if !object.IsObject() {
		return false
	}
	ok := true
	object.ForEach(func(key, value gjson.Result) bool {
		ok = do(key.Str, value)
		return ok
	})
	return ok
}

// text takes a string over without keeping the entry in memory that it is a part of.
func text(value gjson.Result, into *string) bool {
	*into = strings.Clone(value.Str)
	return value.Type == gjson.String
}
