package credential

// proofTable continues table: logins and restarts in every phase, and every event in the phases that follow from logins.
const proofTable = `
none | Reported | current 2 confirmed, previous 1 | active 2
none | Proved next | current 2 confirmed, previous 1 | active 2
none | Proved current | current 2 confirmed, previous 1 | active 2
none | Proved previous | current 3 confirmed, previous 2 | active 3
none | Proved another | current 2 confirmed, previous 1 | active 2
none | ProvedOn part | current 2 confirmed, previous 1 | active 2
none | ProvedOn all | current 2 confirmed, previous 1 | active 2
none | Login with next refused | current 2 confirmed, previous 1 | active 2
none | Login with current refused | current 2 refused, previous 1 | drifted 2
none | RestartedOn part | current 2 confirmed, previous 1 | active 2
none | RestartedOn all | current 2 confirmed, previous 1 | active 2

unsent | Reported | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Proved next | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Proved current | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Proved previous | current 4 confirmed, next 3 unsent, previous 2 | active 4
unsent | Proved another | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | ProvedOn part | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | ProvedOn all | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Login with next refused | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | Login with current refused | current 2 refused, next 3 unsent, previous 1 | drifted 2
unsent | RestartedOn part | current 2 confirmed, next 3 unsent, previous 1 | active 2
unsent | RestartedOn all | current 2 confirmed, next 3 unsent, previous 1 | active 2

sending | Reported | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
sending | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
sending | Proved current | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3
sending | Proved previous | current 4 confirmed, next 3 sending, previous 2 | active 4, later uncertain 4 or 3
sending | Proved another | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3
sending | ProvedOn part | current 2 confirmed, next 3 sending proved on b, previous 1 | active 2, later uncertain 2 or 3
sending | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
sending | Login with next refused | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3
sending | Login with current refused | current 2 refused, next 3 sending, previous 1 | drifted 2, later uncertain 3
sending | RestartedOn part | current 2 confirmed, next 3 sending on b, previous 1 | active 2, later uncertain 2 or 3
sending | RestartedOn all | current 2 confirmed, next 3 sending, previous 1 | active 2, later uncertain 2 or 3

sending again | Reported | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
sending again | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
sending again | Proved current | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending again | Proved previous | current 4 confirmed, next 3 sending, previous 2 | uncertain 4 or 3
sending again | Proved another | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending again | ProvedOn part | current 2 confirmed, next 3 sending proved on b, previous 1 | uncertain 2 or 3
sending again | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
sending again | Login with next refused | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3
sending again | Login with current refused | current 2 refused, next 3 sending, previous 1 | uncertain 3
sending again | RestartedOn part | current 2 confirmed, next 3 sending on b, previous 1 | uncertain 2 or 3
sending again | RestartedOn all | current 2 confirmed, next 3 sending, previous 1 | uncertain 2 or 3

unknown | Reported | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
unknown | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
unknown | Proved current | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | Proved previous | current 4 confirmed, next 3 unknown, previous 2 | uncertain 4 or 3
unknown | Proved another | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | ProvedOn part | current 2 confirmed, next 3 unknown proved on b, previous 1 | uncertain 2 or 3
unknown | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
unknown | Login with next refused | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
unknown | Login with current refused | current 2 refused, next 3 unknown, previous 1 | uncertain 3
unknown | RestartedOn part | current 2 confirmed, next 3 unknown on b, previous 1 | uncertain 2 or 3
unknown | RestartedOn all | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3

accepted | Reported | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
accepted | Proved current | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Proved previous | current 4 confirmed, next 3 accepted, previous 2 | accepted 4 or 3
accepted | Proved another | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | ProvedOn part | current 2 confirmed, next 3 accepted proved on b, previous 1 | accepted 2 or 3
accepted | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
accepted | Login with next refused | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
accepted | Login with current refused | current 2 refused, next 3 accepted, previous 1 | accepted 3
accepted | RestartedOn part | current 2 confirmed, next 3 accepted on b, previous 1 | accepted 2 or 3
accepted | RestartedOn all | current 3, previous 2 open, history 1 old | assumed 3

restart_required | Reported | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
restart_required | Proved current | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | Proved previous | current 4 confirmed, next 3 restart_required, previous 2 | restart_required 4 or 3
restart_required | Proved another | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | ProvedOn part | current 2 confirmed, next 3 restart_required proved on b, previous 1 | restart_required 2 or 3
restart_required | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
restart_required | Login with next refused | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
restart_required | Login with current refused | current 2 refused, next 3 restart_required, previous 1 | restart_required 3
restart_required | RestartedOn part | current 2 confirmed, next 3 restart_required on b, previous 1 | restart_required 2 or 3
restart_required | RestartedOn all | current 3, previous 2 open, history 1 old | assumed 3

partly taken | Reported | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
partly taken | Proved current | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | Proved previous | current 4 confirmed, next 3 restart_required taken a, previous 2 | restart_required 4 or 3
partly taken | Proved another | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | ProvedOn part | current 2 confirmed, next 3 restart_required proved on b, previous 1 | restart_required 2 or 3
partly taken | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
partly taken | Login with next refused | current 2 confirmed, next 3 restart_required taken a, previous 1 | restart_required 2 or 3
partly taken | Login with current refused | current 2 refused, next 3 restart_required taken a, previous 1 | restart_required 3
partly taken | RestartedOn part | current 2 confirmed, next 3 restart_required on b, previous 1 | restart_required 2 or 3
partly taken | RestartedOn all | current 3, previous 2 open, history 1 old | assumed 3

partly taken, rest unknown | Reported | current 2 confirmed, next 3 unknown restart_required taken a reported, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
partly taken, rest unknown | Proved current | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Proved previous | current 4 confirmed, next 3 unknown restart_required taken a, previous 2 | uncertain 4 or 3
partly taken, rest unknown | Proved another | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | ProvedOn part | current 2 confirmed, next 3 restart_required proved on b, previous 1 | restart_required 2 or 3
partly taken, rest unknown | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
partly taken, rest unknown | Login with next refused | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3
partly taken, rest unknown | Login with current refused | current 2 refused, next 3 unknown restart_required taken a, previous 1 | uncertain 3
partly taken, rest unknown | RestartedOn part | current 2 confirmed, next 3 restart_required on b, previous 1 | restart_required 2 or 3
partly taken, rest unknown | RestartedOn all | current 2 confirmed, next 3 unknown restart_required taken a, previous 1 | uncertain 2 or 3

unknown, another unsent | Reported | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | Proved next | current 3 confirmed, next 4 unsent, previous 2, history 1 old | active 3
unknown, another unsent | Proved current | current 2, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | Proved previous | current 5, next 4 unsent, candidate 3 unresolved, previous 2 | uncertain 5 or 3
unknown, another unsent | Proved another | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | ProvedOn part | current 2 confirmed, next 4 unsent, candidate 3 unresolved proved on b, previous 1 | uncertain 2 or 3
unknown, another unsent | ProvedOn all | current 3 confirmed, next 4 unsent, previous 2, history 1 old | active 3
unknown, another unsent | Login with next refused | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
unknown, another unsent | Login with current refused | current 2 refused, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 3
unknown, another unsent | RestartedOn part | current 2 confirmed, next 4 unsent, candidate 3 unresolved on b, previous 1 | uncertain 2 or 3
unknown, another unsent | RestartedOn all | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3

accepted, another unsent | Reported | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Proved next | current 3 confirmed, next 4 unsent, previous 2, history 1 old | active 3
accepted, another unsent | Proved current | current 2, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Proved previous | current 5, next 4 unsent, candidate 3 staged, previous 2 | accepted 5 or 3
accepted, another unsent | Proved another | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | ProvedOn part | current 2 confirmed, next 4 unsent, candidate 3 staged proved on b, previous 1 | accepted 2 or 3
accepted, another unsent | ProvedOn all | current 3 confirmed, next 4 unsent, previous 2, history 1 old | active 3
accepted, another unsent | Login with next refused | current 2 confirmed, next 4 unsent, candidate 3 staged, previous 1 | accepted 2 or 3
accepted, another unsent | Login with current refused | current 2 refused, next 4 unsent, candidate 3 staged, previous 1 | accepted 3
accepted, another unsent | RestartedOn part | current 2 confirmed, next 4 unsent, candidate 3 staged on b, previous 1 | accepted 2 or 3
accepted, another unsent | RestartedOn all | current 3, next 4 unsent, previous 2 open, history 1 old | assumed 3

partly taken, another unsent | Reported | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Proved next | current 3 confirmed, next 4 unsent, previous 2, history 1 old | active 3
partly taken, another unsent | Proved current | current 2, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Proved previous | current 5, next 4 unsent, candidate 3 unresolved taken a, previous 2 | restart_required 5 or 3
partly taken, another unsent | Proved another | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | ProvedOn part | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a proved on b, previous 1 | restart_required 2 or 3
partly taken, another unsent | ProvedOn all | current 3 confirmed, next 4 unsent, previous 2, history 1 old | active 3
partly taken, another unsent | Login with next refused | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3
partly taken, another unsent | Login with current refused | current 2 refused, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 3
partly taken, another unsent | RestartedOn part | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a on b, previous 1 | restart_required 2 or 3
partly taken, another unsent | RestartedOn all | current 2 confirmed, next 4 unsent, candidate 3 unresolved taken a, previous 1 | restart_required 2 or 3

by time | Reported | current 3, previous 2 open, history 1 old | assumed 3
by time | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
by time | Proved current | current 4 confirmed, previous 3 unconfirmed, history 1 old | active 4
by time | Proved previous | current 4 confirmed, previous 3 unconfirmed, history 2 old | active 4
by time | Proved another | current 3, previous 2 open, history 1 old | assumed 3
by time | ProvedOn part | current 3, previous 2 open, history 1 old | assumed 3
by time | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
by time | Login with next refused | current 3 refused, previous 2 open, history 1 old | drifted 3
by time | Login with current refused | current 3, previous 2 open, history 1 old | assumed 3
by time | RestartedOn part | current 3, previous 2 open, history 1 old | assumed 3
by time | RestartedOn all | current 3, previous 2 open, history 1 old | assumed 3

reported | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
reported | Send | current 2 confirmed, next 3 sending resent, previous 1 | uncertain 2 or 3
reported | Applied | current 3 confirmed, previous 2, history 1 old | active 3
reported | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
reported | Staged accepted | current 2 confirmed, next 3 accepted, previous 1 | accepted 2 or 3
reported | Staged restart | current 2 confirmed, next 3 restart_required, previous 1 | restart_required 2 or 3
reported | InForce | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | NotApplied | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | PasswordRefused | current 2 confirmed, candidate 3 refused, previous 1 | uncertain 2 or 3
reported | TargetRefused | current 2 confirmed, next 3 unknown, previous 1 | uncertain 2 or 3
reported | Unresolved | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | OldRefused | current 2 refused, next 3 unknown reported, previous 1 | uncertain 3
reported | GiveUp | current 2 confirmed, candidate 3 unresolved, previous 1 | uncertain 2 or 3
reported | Confirm next | current 3, previous 2, history 1 old | assumed 3
reported | Confirm current | error | no password of this version is waiting to be confirmed or discarded
reported | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
reported | Discard current | error | no password of this version is waiting to be confirmed or discarded
reported | Discard another | error | no password of this version is waiting to be confirmed or discarded
reported | Adopt next | current 3, previous 2, history 1 old | assumed 3
reported | Adopt current | current 2, previous 1, history 3 superseded open | assumed 2
reported | Adopt previous | current 4, previous 2, history 3 superseded open | assumed 4
reported | Adopt another | current 4, previous 2, history 3 superseded open, history 1 old | assumed 4
reported | TakenByParts | current 2 confirmed, next 3 unknown restart_required taken b reported, previous 1 | uncertain 2 or 3
reported | SettleByTime | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | ConfirmOn part | current 2 confirmed, next 3 unknown on b reported, previous 1 | uncertain 2 or 3
reported | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3
reported | Reported | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
reported | Proved current | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | Proved previous | current 4 confirmed, next 3 unknown reported, previous 2 | uncertain 4 or 3
reported | Proved another | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3
reported | ProvedOn part | current 2 confirmed, next 3 unknown proved on b reported, previous 1 | uncertain 2 or 3
reported | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
reported | Login with next refused | current 2 confirmed, next 3 unknown reported refused 1, previous 1 | uncertain 2 or 3
reported | Login with current refused | current 2 refused, next 3 unknown reported, previous 1 | uncertain 3
reported | RestartedOn part | current 2 confirmed, next 3 unknown on b reported, previous 1 | uncertain 2 or 3
reported | RestartedOn all | current 2 confirmed, next 3 unknown reported, previous 1 | uncertain 2 or 3

reported, resent | Make | current 2 confirmed, next 4 unsent, candidate 3 unresolved, previous 1 | uncertain 2 or 3
reported, resent | Send | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | Applied | current 3 confirmed, previous 2, history 1 old | active 3
reported, resent | Applied exclusive | current 3 confirmed, previous 2, history 1 old | active 3
reported, resent | Staged accepted | current 2 confirmed, next 3 accepted refused 1 resent, previous 1 | accepted 2 or 3
reported, resent | Staged restart | current 2 confirmed, next 3 restart_required refused 1 resent, previous 1 | restart_required 2 or 3
reported, resent | InForce | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | NotApplied | current 2 confirmed, next 3 unknown refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | PasswordRefused | current 2 confirmed, candidate 3 refused, previous 1 | uncertain 2 or 3
reported, resent | TargetRefused | current 2 confirmed, next 3 unknown refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | Unresolved | current 2 confirmed, next 3 unknown refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | OldRefused | current 2 refused, next 3 unknown refused 1 resent, previous 1 | uncertain 3
reported, resent | GiveUp | current 2 confirmed, candidate 3 unresolved, previous 1 | uncertain 2 or 3
reported, resent | Confirm next | current 3, previous 2, history 1 old | assumed 3
reported, resent | Confirm current | error | no password of this version is waiting to be confirmed or discarded
reported, resent | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
reported, resent | Discard current | error | no password of this version is waiting to be confirmed or discarded
reported, resent | Discard another | error | no password of this version is waiting to be confirmed or discarded
reported, resent | Adopt next | current 3, previous 2, history 1 old | assumed 3
reported, resent | Adopt current | current 2, previous 1, history 3 superseded open | assumed 2
reported, resent | Adopt previous | current 4, previous 2, history 3 superseded open | assumed 4
reported, resent | Adopt another | current 4, previous 2, history 3 superseded open, history 1 old | assumed 4
reported, resent | TakenByParts | current 2 confirmed, next 3 sending restart_required taken b refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | SettleByTime | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | ConfirmOn part | current 2 confirmed, next 3 sending on b refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3
reported, resent | Reported | current 2 confirmed, next 3 unknown reported refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
reported, resent | Proved current | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | Proved previous | current 4 confirmed, next 3 sending refused 1 resent, previous 2 | uncertain 4 or 3
reported, resent | Proved another | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | ProvedOn part | current 2 confirmed, next 3 sending proved on b refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
reported, resent | Login with next refused | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | Login with current refused | current 2 refused, next 3 sending refused 1 resent, previous 1 | uncertain 3
reported, resent | RestartedOn part | current 2 confirmed, next 3 sending on b refused 1 resent, previous 1 | uncertain 2 or 3
reported, resent | RestartedOn all | current 2 confirmed, next 3 sending refused 1 resent, previous 1 | uncertain 2 or 3

discarded while it waits | Make | current 2 confirmed, next 4 unsent, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Send | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Applied | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Applied exclusive | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Staged accepted | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Staged restart | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | InForce | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | NotApplied | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | PasswordRefused | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | TargetRefused | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Unresolved | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | OldRefused | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | GiveUp | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Confirm next | current 3, previous 2, history 1 old | assumed 3
discarded while it waits | Confirm current | current 2, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Discard next | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Discard current | error | no password of this version is waiting to be confirmed or discarded
discarded while it waits | Discard another | error | no password of this version is waiting to be confirmed or discarded
discarded while it waits | Adopt next | current 3, previous 2, history 1 old | assumed 3
discarded while it waits | Adopt current | current 2, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Adopt previous | current 4, candidate 3 discarded, previous 2 | assumed 4
discarded while it waits | Adopt another | current 4, candidate 3 discarded, previous 2, history 1 old | assumed 4
discarded while it waits | TakenByParts | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | SettleByTime | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | ConfirmOn part | current 2 confirmed, candidate 3 staged on b, previous 1 | restart_required 2 or 3
discarded while it waits | ConfirmOn all | current 3, previous 2, history 1 old | assumed 3
discarded while it waits | Reported | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
discarded while it waits | Proved current | current 2, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Proved previous | current 4, candidate 3 discarded, previous 2 | assumed 4
discarded while it waits | Proved another | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | ProvedOn part | current 2 confirmed, candidate 3 staged proved on b, previous 1 | restart_required 2 or 3
discarded while it waits | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
discarded while it waits | Login with next refused | current 2 confirmed, candidate 3 discarded, previous 1 | assumed 2
discarded while it waits | Login with current refused | current 2 refused, candidate 3 discarded, previous 1 | drifted 2
discarded while it waits | RestartedOn part | current 2 confirmed, candidate 3 staged on b, previous 1 | restart_required 2 or 3
discarded while it waits | RestartedOn all | current 3, previous 2 open, history 1 old | assumed 3

by time, refused | Make | current 3 refused, next 4 unsent, previous 2 open, history 1 old | drifted 3
by time, refused | Send | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Applied | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Applied exclusive | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Staged accepted | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Staged restart | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | InForce | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | NotApplied | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | PasswordRefused | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | TargetRefused | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Unresolved | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | OldRefused | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | GiveUp | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Confirm next | current 3, previous 2 open, history 1 old | assumed 3
by time, refused | Confirm current | current 4, history 3 old open, history 1 old | assumed 4
by time, refused | Discard next | error | no password of this version is waiting to be confirmed or discarded
by time, refused | Discard current | error | no password of this version is waiting to be confirmed or discarded
by time, refused | Discard another | error | no password of this version is waiting to be confirmed or discarded
by time, refused | Adopt next | current 3, previous 2 open, history 1 old | assumed 3
by time, refused | Adopt current | current 4, history 3 old open, history 1 old | assumed 4
by time, refused | Adopt previous | current 4, previous 2 open, history 3 old open | assumed 4
by time, refused | Adopt another | current 4, previous 2 open, history 3 old open, history 1 old | assumed 4
by time, refused | TakenByParts | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | SettleByTime | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | ConfirmOn part | error | no password of this version is waiting to be confirmed or discarded
by time, refused | ConfirmOn all | current 3, previous 2 open, history 1 old | assumed 3
by time, refused | Reported | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Proved next | current 3 confirmed, previous 2, history 1 old | active 3
by time, refused | Proved current | current 4 confirmed, history 3 old open, history 1 old | active 4
by time, refused | Proved previous | current 4 confirmed, previous 2, history 3 old open | active 4
by time, refused | Proved another | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | ProvedOn part | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | ProvedOn all | current 3 confirmed, previous 2, history 1 old | active 3
by time, refused | Login with next refused | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | Login with current refused | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | RestartedOn part | current 3 refused, previous 2 open, history 1 old | drifted 3
by time, refused | RestartedOn all | current 3 refused, previous 2 open, history 1 old | drifted 3
`
