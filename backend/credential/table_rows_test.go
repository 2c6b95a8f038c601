package credential

// table lists the result of every event in every phase: phase | event | what the record holds | what a reader is told at once
// and, if that differs, after the deadline of the request in flight. It includes answers to requests that were never made:
// whatever they say, a password that may be in force is kept.
const table = `
none | Make | current 2 confirmed, next 3 unsent, previous 1 | active 2
none | Send | current 2 confirmed, previous 1 | active 2
none | Applied | current 2 confirmed, previous 1 | active 2
none | Applied exclusive | current 2 confirmed, previous 1 | active 2
none | Staged accepted | current 2 confirmed, previous 1 | active 2
none | Staged restart | current 2 confirmed, previous 1 | active 2
none | InForce | current 2 confirmed, previous 1 | active 2
none | NotApplied | current 2 confirmed, previous 1 | active 2
none | PasswordRefused | current 2 confirmed, previous 1 | active 2
none | TargetRefused | current 2 confirmed, previous 1 | active 2
none | Unresolved | current 2 confirmed, previous 1 | active 2
none | OldRefused | current 2 confirmed, previous 1 | active 2
none | GiveUp | current 2 confirmed, previous 1 | active 2
none | Confirm next | error | no password of this version is waiting to be confirmed or discarded
none | Confirm current | current 2 confirmed, previous 1 | active 2
none | Discard next | error | no password of this version is waiting to be confirmed or discarded
none | Discard current | error | no password of this version is waiting to be confirmed or discarded
none | Discard another | error | no password of this version is waiting to be confirmed or discarded
none | Adopt next | current 3, previous 2, history 1 old | assumed 3
none | Adopt current | current 2 confirmed, previous 1 | active 2
none | Adopt previous | current 3, previous 2 | assumed 3
none | Adopt another | current 3, previous 2, history 1 old | assumed 3
none | TakenByParts | current 2 confirmed, previous 1 | active 2
none | SettleByTime | current 2 confirmed, previous 1 | active 2
none | ConfirmOn part | error | no password of this version is waiting to be confirmed or discarded
none | ConfirmOn all | error | no password of this version is waiting to be confirmed or discarded

unsent | Make | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Send | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3
unsent | Applied | current 3 confirmed, previous 2, history 1 old | active 3
unsent | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
unsent | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
unsent | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
unsent | InForce | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | NotApplied | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | PasswordRefused | current 2 confirmed, previous 1 | active 2
unsent | TargetRefused | current 2 confirmed, previous 1 | active 2
unsent | Unresolved | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | OldRefused | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | GiveUp | current 2 confirmed, previous 1 | active 2
unsent | Confirm next | error | no password of this version is waiting to be confirmed or discarded
unsent | Confirm current | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Discard next | current 2 confirmed, previous 1 | active 2
unsent | Discard current | error | no password of this version is waiting to be confirmed or discarded
unsent | Discard another | error | no password of this version is waiting to be confirmed or discarded
unsent | Adopt next | current 3, previous 2, history 1 old | assumed 3
unsent | Adopt current | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Adopt previous | current 3, previous 2 | assumed 3
unsent | Adopt another | current 3, previous 2, history 1 old | assumed 3
unsent | TakenByParts | current 2 confirmed, next 3 restart_required taken b, previous 1 | restart_required 2 or 3
unsent | SettleByTime | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | ConfirmOn part | error | no password of this version is waiting to be confirmed or discarded
unsent | ConfirmOn all | error | no password of this version is waiting to be confirmed or discarded

sending | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
sending | Send | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending | Applied | current 3 confirmed, previous 2, history 1 old | active 3
sending | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
sending | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
sending | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
sending | InForce | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3
sending | NotApplied | current 2 confirmed, next 3 unsent, previous 1 | active 2
sending | PasswordRefused | current 2 confirmed, previous 1 | active 2
sending | TargetRefused | current 2 confirmed, previous 1 | active 2
sending | Unresolved | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
sending | OldRefused | current 2 refused, next 3 unsent, previous 1 | drifted 2
sending | GiveUp | current 2 confirmed, candidate 3 unresolved, previous 1 | uncertain 2 or 3
sending | Confirm next | current 3, previous 2, history 1 old | assumed 3
sending | Confirm current | error | no password of this version is waiting to be confirmed or discarded
sending | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
sending | Discard current | error | no password of this version is waiting to be confirmed or discarded
sending | Discard another | error | no password of this version is waiting to be confirmed or discarded
sending | Adopt next | current 3, previous 2, history 1 old | assumed 3
sending | Adopt current | current 2, previous 1, history 3 superseded open | assumed 2
sending | Adopt previous | current 4, previous 2, history 3 superseded open | assumed 4
sending | Adopt another | current 4, previous 2, history 3 superseded open, history 1 old | assumed 4
sending | TakenByParts | current 2 confirmed, next 3 sending restart_required taken b, previous 1 | restart_required 2 or 3, later uncertain 2 or 3
sending | SettleByTime | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3
sending | ConfirmOn part | current 2 confirmed, next 3 sending on b, previous 1 | active 2, later uncertain 2 or 3
sending | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

sending again | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
sending again | Send | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending again | Applied | current 3 confirmed, previous 2, history 1 old | active 3
sending again | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
sending again | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
sending again | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
sending again | InForce | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending again | NotApplied | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
sending again | PasswordRefused | current 2 confirmed, candidate 3 refused, previous 1 | uncertain 2 or 3
sending again | TargetRefused | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
sending again | Unresolved | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
sending again | OldRefused | current 2 refused, next 3 unknown, previous 1 | uncertain 3
sending again | GiveUp | current 2 confirmed, candidate 3 unresolved, previous 1 | uncertain 2 or 3
sending again | Confirm next | current 3, previous 2, history 1 old | assumed 3
sending again | Confirm current | error | no password of this version is waiting to be confirmed or discarded
sending again | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
sending again | Discard current | error | no password of this version is waiting to be confirmed or discarded
sending again | Discard another | error | no password of this version is waiting to be confirmed or discarded
sending again | Adopt next | current 3, previous 2, history 1 old | assumed 3
sending again | Adopt current | current 2, previous 1, history 3 superseded open | assumed 2
sending again | Adopt previous | current 4, previous 2, history 3 superseded open | assumed 4
sending again | Adopt another | current 4, previous 2, history 3 superseded open, history 1 old | assumed 4
sending again | TakenByParts | current 2 confirmed, next 3 sending restart_required taken b, previous 1 | uncertain 2 or 3
sending again | SettleByTime | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending again | ConfirmOn part | current 2 confirmed, next 3 sending on b, previous 1 | uncertain 2 or 3
sending again | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

unknown | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown | Send | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
unknown | Applied | current 3 confirmed, previous 2, history 1 old | active 3
unknown | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
unknown | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
unknown | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
unknown | InForce | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | NotApplied | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | PasswordRefused | current 2 confirmed, candidate 3 refused, previous 1 | uncertain 2 or 3
unknown | TargetRefused | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | Unresolved | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | OldRefused | current 2 refused, next 3 unknown, previous 1 | uncertain 3
unknown | GiveUp | current 2 confirmed, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown | Confirm next | current 3, previous 2, history 1 old | assumed 3
unknown | Confirm current | error | no password of this version is waiting to be confirmed or discarded
unknown | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
unknown | Discard current | error | no password of this version is waiting to be confirmed or discarded
unknown | Discard another | error | no password of this version is waiting to be confirmed or discarded
unknown | Adopt next | current 3, previous 2, history 1 old | assumed 3
unknown | Adopt current | current 2, previous 1, history 3 superseded open | assumed 2
unknown | Adopt previous | current 4, previous 2, history 3 superseded open | assumed 4
unknown | Adopt another | current 4, previous 2, history 3 superseded open, history 1 old | assumed 4
unknown | TakenByParts | current 2 confirmed, next 3 unknown restart_required taken b, previous 1 | uncertain 2 or 3
unknown | SettleByTime | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | ConfirmOn part | current 2 confirmed, next 3 unknown on b, previous 1 | uncertain 2 or 3
unknown | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

accepted | Make | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted | Send | current 2 confirmed, next 3 sending accepted, previous 1 | accepted 2 or 3, later uncertain 2 or 3
accepted | Applied | current 3 confirmed, previous 2, history 1 old | active 3
accepted | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
accepted | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
accepted | InForce | current 3, previous 2 open, history 1 old | assumed 3
accepted | NotApplied | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | PasswordRefused | current 2 confirmed, candidate 3 refused, previous 1 | accepted 2 or 3
accepted | TargetRefused | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Unresolved | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | OldRefused | current 2 refused, next 3 accepted, previous 1 | accepted 3
accepted | GiveUp | current 2 confirmed, candidate 3 staged, previous 1 | accepted 2 or 3
accepted | Confirm next | current 3, previous 2, history 1 old | assumed 3
accepted | Confirm current | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Discard next | error | the remote system has queued the password of this version
accepted | Discard current | error | no password of this version is waiting to be confirmed or discarded
accepted | Discard another | error | no password of this version is waiting to be confirmed or discarded
accepted | Adopt next | current 3, previous 2, history 1 old | assumed 3
accepted | Adopt current | current 2, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Adopt previous | current 4, next 3 accepted, previous 2 | accepted 4 or 3
accepted | Adopt another | current 4, next 3 accepted, previous 2, history 1 old | accepted 4 or 3
accepted | TakenByParts | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
accepted | SettleByTime | current 3, previous 2 open, history 1 old | assumed 3
accepted | ConfirmOn part | current 2 confirmed, next 3 accepted on b, previous 1 | accepted 2 or 3
accepted | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

restart_required | Make | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | restart_required 2 or 3
restart_required | Send | current 2 confirmed, next 3 sending restart_required, previous 1 | restart_required 2 or 3, later uncertain 2 or 3
restart_required | Applied | current 3 confirmed, previous 2, history 1 old | active 3
restart_required | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
restart_required | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
restart_required | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | InForce | current 3, previous 2 open, history 1 old | assumed 3
restart_required | NotApplied | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | PasswordRefused | current 2 confirmed, candidate 3 refused, previous 1 | restart_required 2 or 3
restart_required | TargetRefused | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | Unresolved | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | OldRefused | current 2 refused, next 3 restart_required, previous 1 | restart_required 3
restart_required | GiveUp | current 2 confirmed, candidate 3 staged, previous 1 | restart_required 2 or 3
restart_required | Confirm next | current 3, previous 2, history 1 old | assumed 3
restart_required | Confirm current | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
restart_required | Discard current | error | no password of this version is waiting to be confirmed or discarded
restart_required | Discard another | error | no password of this version is waiting to be confirmed or discarded
restart_required | Adopt next | current 3, previous 2, history 1 old | assumed 3
restart_required | Adopt current | current 2, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | Adopt previous | current 4, next 3 restart_required, previous 2 | restart_required 4 or 3
restart_required | Adopt another | current 4, next 3 restart_required, previous 2, history 1 old | restart_required 4 or 3
restart_required | TakenByParts | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | SettleByTime | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | ConfirmOn part | current 2 confirmed, next 3 restart_required on b, previous 1 | restart_required 2 or 3
restart_required | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

partly taken | Make | current 2 confirmed, next 4 unsent, candidate 3 staged taken a, previous 1 | restart_required 2 or 3
partly taken | Send | current 2 confirmed, next 3 sending restart_required taken a, previous 1 | restart_required 2 or 3, later uncertain 2 or 3
partly taken | Applied | current 3 confirmed, previous 2, history 1 old | active 3
partly taken | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
partly taken | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
partly taken | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
partly taken | InForce | current 3, previous 2 open, history 1 old | assumed 3
partly taken | NotApplied | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | PasswordRefused | current 2 confirmed, candidate 3 refused taken a, previous 1 | restart_required 2 or 3
partly taken | TargetRefused | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | Unresolved | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | OldRefused | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | GiveUp | current 2 confirmed, candidate 3 staged taken a, previous 1 | restart_required 2 or 3
partly taken | Confirm next | current 3, previous 2, history 1 old | assumed 3
partly taken | Confirm current | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | Discard next | current 2 confirmed, candidate 3 discarded taken a, previous 1 | assumed 2
partly taken | Discard current | error | no password of this version is waiting to be confirmed or discarded
partly taken | Discard another | error | no password of this version is waiting to be confirmed or discarded
partly taken | Adopt next | current 3, previous 2, history 1 old | assumed 3
partly taken | Adopt current | current 2, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | Adopt previous | current 4, next 3 restart_required taken a, previous 2 | restart_required 4 or 3
partly taken | Adopt another | current 4, next 3 restart_required taken a, previous 2, history 1 old | restart_required 4 or 3
partly taken | TakenByParts | current 2 confirmed, next 3 restart_required taken a+b, previous 1 | restart_required 2 or 3
partly taken | SettleByTime | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | ConfirmOn part | current 2 confirmed, next 3 restart_required on b, previous 1 | restart_required 2 or 3
partly taken | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

partly taken, rest unknown | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, rest unknown | Send | current 2 confirmed, next 3 sending restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Applied | current 3 confirmed, previous 2, history 1 old | active 3
partly taken, rest unknown | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
partly taken, rest unknown | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
partly taken, rest unknown | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
partly taken, rest unknown | InForce | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | NotApplied | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | PasswordRefused | current 2 confirmed, candidate 3 refused taken a, previous 1 | restart_required 2 or 3
partly taken, rest unknown | TargetRefused | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Unresolved | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | OldRefused | current 2 refused, next 3 unknown restart_required taken a, previous 1 | uncertain 3
partly taken, rest unknown | GiveUp | current 2 confirmed, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, rest unknown | Confirm next | current 3, previous 2, history 1 old | assumed 3
partly taken, rest unknown | Confirm current | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Discard next | current 2 confirmed, candidate 3 discarded taken a, previous 1 | assumed 2
partly taken, rest unknown | Discard current | error | no password of this version is waiting to be confirmed or discarded
partly taken, rest unknown | Discard another | error | no password of this version is waiting to be confirmed or discarded
partly taken, rest unknown | Adopt next | current 3, previous 2, history 1 old | assumed 3
partly taken, rest unknown | Adopt current | current 2, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Adopt previous | current 4, next 3 unknown restart_required taken a, previous 2 | uncertain 4 or 3
partly taken, rest unknown | Adopt another | current 4, next 3 unknown restart_required taken a, previous 2, history 1 old | uncertain 4 or 3
partly taken, rest unknown | TakenByParts | current 2 confirmed, next 3 unknown restart_required taken a+b, previous 1 | uncertain 2 or 3
partly taken, rest unknown | SettleByTime | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | ConfirmOn part | current 2 confirmed, next 3 restart_required on b, previous 1 | restart_required 2 or 3
partly taken, rest unknown | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3

unknown, another unsent | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | Send | current 2 confirmed, next 4 sending, candidate 3 unresolved, previous 1 | uncertain 2 or 3, later uncertain 2 or 4
unknown, another unsent | Applied | current 4, candidate 3 unresolved overtaken outlived, previous 2, history 1 old | assumed 4
unknown, another unsent | Applied exclusive | current 4 confirmed, previous 2, history 3 superseded, history 1 old | active 4
unknown, another unsent | Staged accepted | current 2 confirmed, next 4 accepted, candidate 3 unresolved, previous 1 | accepted 2 or 4
unknown, another unsent | Staged restart | current 2 confirmed, next 4 restart_required, candidate 3 unresolved, previous 1 | restart_required 2 or 4
unknown, another unsent | InForce | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | NotApplied | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | PasswordRefused | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown, another unsent | TargetRefused | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown, another unsent | Unresolved | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | OldRefused | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | GiveUp | current 2 confirmed, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | Confirm next | current 3, next 4 unsent, previous 2, history 1 old | assumed 3
unknown, another unsent | Confirm current | current 2, next 4 unsent, previous 1, history 3 superseded open | assumed 2
unknown, another unsent | Discard next | current 2 confirmed, next 4 unsent, candidate 3 discarded, previous 1 | assumed 2
unknown, another unsent | Discard current | error | no password of this version is waiting to be confirmed or discarded
unknown, another unsent | Discard another | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown, another unsent | Adopt next | current 3, next 4 unsent, previous 2, history 1 old | assumed 3
unknown, another unsent | Adopt current | current 2, next 4 unsent, previous 1, history 3 superseded open | assumed 2
unknown, another unsent | Adopt previous | current 4, previous 2, history 3 superseded open | assumed 4
unknown, another unsent | Adopt another | current 4, previous 2, history 3 superseded open, history 1 old | assumed 4
unknown, another unsent | TakenByParts | current 2 confirmed, next 4 restart_required taken b, candidate 3 unresolved, previous 1 | restart_required 2 or 4
unknown, another unsent | SettleByTime | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | ConfirmOn part | current 2 confirmed, next 4 unsent, candidate 3 unresolved on b, previous 1 | uncertain 2 or 3
unknown, another unsent | ConfirmOn all | current 3, next 4 unsent, previous 2, history 1 old | assumed 3

accepted, another unsent | Make | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Send | current 2 confirmed, next 4 sending, candidate 3 staged, previous 1 | accepted 2 or 3, later uncertain 2 or 4
accepted, another unsent | Applied | current 4, candidate 3 staged overtaken outlived, previous 2, history 1 old | assumed 4
accepted, another unsent | Applied exclusive | current 4 confirmed, previous 2, history 3 superseded, history 1 old | active 4
accepted, another unsent | Staged accepted | current 2 confirmed, next 4 accepted, candidate 3 staged, previous 1 | accepted 2 or 4
accepted, another unsent | Staged restart | current 2 confirmed, next 4 restart_required, candidate 3 staged, previous 1 | restart_required 2 or 4
accepted, another unsent | InForce | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | NotApplied | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | PasswordRefused | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted, another unsent | TargetRefused | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted, another unsent | Unresolved | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | OldRefused | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | GiveUp | current 2 confirmed, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Confirm next | current 3, next 4 unsent, previous 2, history 1 old | assumed 3
accepted, another unsent | Confirm current | current 2, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Discard next | error | the remote system has queued the password of this version
accepted, another unsent | Discard current | error | no password of this version is waiting to be confirmed or discarded
accepted, another unsent | Discard another | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted, another unsent | Adopt next | current 3, next 4 unsent, previous 2, history 1 old | assumed 3
accepted, another unsent | Adopt current | current 2, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Adopt previous | current 4, candidate 3 staged, previous 2 | accepted 4 or 3
accepted, another unsent | Adopt another | current 4, candidate 3 staged, previous 2, history 1 old | accepted 4 or 3
accepted, another unsent | TakenByParts | current 2 confirmed, next 4 restart_required taken b, candidate 3 staged, previous 1 | restart_required 2 or 4
accepted, another unsent | SettleByTime | current 3, next 4 unsent, previous 2 open, history 1 old | assumed 3
accepted, another unsent | ConfirmOn part | current 2 confirmed, next 4 unsent, candidate 3 staged on b, previous 1 | accepted 2 or 3
accepted, another unsent | ConfirmOn all | current 3, next 4 unsent, previous 2, history 1 old | assumed 3

partly taken, another unsent | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Send | current 2 confirmed, next 4 sending, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3, later uncertain 2 or 4
partly taken, another unsent | Applied | current 4, candidate 3 unresolved overtaken outlived taken a, previous 2, history 1 old | assumed 4
partly taken, another unsent | Applied exclusive | current 4 confirmed, previous 2, history 3 superseded, history 1 old | active 4
partly taken, another unsent | Staged accepted | current 2 confirmed, next 4 accepted, candidate 3 unresolved taken a, previous 1 | accepted 2 or 4
partly taken, another unsent | Staged restart | current 2 confirmed, next 4 restart_required, candidate 3 unresolved overtaken taken a, previous 1 | restart_required 2 or 4
partly taken, another unsent | InForce | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | NotApplied | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | PasswordRefused | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, another unsent | TargetRefused | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, another unsent | Unresolved | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | OldRefused | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | GiveUp | current 2 confirmed, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Confirm next | current 3, next 4 unsent, previous 2, history 1 old | assumed 3
partly taken, another unsent | Confirm current | current 2, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Discard next | current 2 confirmed, next 4 unsent, candidate 3 discarded taken a, previous 1 | assumed 2
partly taken, another unsent | Discard current | error | no password of this version is waiting to be confirmed or discarded
partly taken, another unsent | Discard another | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, another unsent | Adopt next | current 3, next 4 unsent, previous 2, history 1 old | assumed 3
partly taken, another unsent | Adopt current | current 2, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Adopt previous | current 4, candidate 3 unresolved taken a, previous 2 | restart_required 4 or 3
partly taken, another unsent | Adopt another | current 4, candidate 3 unresolved taken a, previous 2, history 1 old | restart_required 4 or 3
partly taken, another unsent | TakenByParts | current 2 confirmed, next 4 restart_required taken b, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 4
partly taken, another unsent | SettleByTime | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | ConfirmOn part | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a on b, previous 1 | restart_required 2 or 3
partly taken, another unsent | ConfirmOn all | current 3, next 4 unsent, previous 2, history 1 old | assumed 3

by time | Make | current 3, next 4 unsent, previous 2 open, history 1 old | assumed 3
by time | Send | current 3, previous 2 open, history 1 old | assumed 3
by time | Applied | current 3, previous 2 open, history 1 old | assumed 3
by time | Applied exclusive | current 3, previous 2 open, history 1 old | assumed 3
by time | Staged accepted | current 3, previous 2 open, history 1 old | assumed 3
by time | Staged restart | current 3, previous 2 open, history 1 old | assumed 3
by time | InForce | current 3, previous 2 open, history 1 old | assumed 3
by time | NotApplied | current 3, previous 2 open, history 1 old | assumed 3
by time | PasswordRefused | current 3, previous 2 open, history 1 old | assumed 3
by time | TargetRefused | current 3, previous 2 open, history 1 old | assumed 3
by time | Unresolved | current 3, previous 2 open, history 1 old | assumed 3
by time | OldRefused | current 3, previous 2 open, history 1 old | assumed 3
by time | GiveUp | current 3, previous 2 open, history 1 old | assumed 3
by time | Confirm next | current 3, previous 2 open, history 1 old | assumed 3
by time | Confirm current | current 4, previous 3 unconfirmed, history 1 old | assumed 4
by time | Discard next | current 4, candidate 3 discarded, history 1 old | assumed 4
by time | Discard current | error | no password of this version is waiting to be confirmed or discarded
by time | Discard another | error | no password of this version is waiting to be confirmed or discarded
by time | Adopt next | current 3, previous 2 open, history 1 old | assumed 3
by time | Adopt current | current 4, previous 3 unconfirmed, history 1 old | assumed 4
by time | Adopt previous | current 4, previous 3 unconfirmed, history 2 old open | assumed 4
by time | Adopt another | current 4, previous 3 unconfirmed, history 2 old open, history 1 old | assumed 4
by time | TakenByParts | current 3, previous 2 open, history 1 old | assumed 3
by time | SettleByTime | current 3, previous 2 open, history 1 old | assumed 3
by time | ConfirmOn part | current 3, previous 2 open, history 1 old | assumed 3
by time | ConfirmOn all | current 3, previous 2 open, history 1 old | assumed 3
`
