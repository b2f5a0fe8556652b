package engine

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/database"
)

// TestStore holds what is promised of the rows.
func TestStore(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, w *rowsWorld){
		"EventIsKeptOnce":                  eventIsKeptOnce,
		"EventsOfAChangeAreWorkedInTurn":   eventsOfAChangeAreWorkedInTurn,
		"EventThatFailedWaits":             eventThatFailedWaits,
		"ManyWorkersClaimEachEventOnce":    manyWorkersClaimEachEventOnce,
		"BranchMovesOnce":                  branchMovesOnce,
		"OneApplyOfAWorkspaceAtATime":      oneApplyOfAWorkspaceAtATime,
		"OneApplyIsAConstraint":            oneApplyIsAConstraint,
		"RunIsClaimedOnce":                 runIsClaimedOnce,
		"StepsOutsideTheTableAreRefused":   stepsOutsideTheTableAreRefused,
		"StepOfAnotherOwnerIsRefused":      stepOfAnotherOwnerIsRefused,
		"RunsWaitForTheirNeeds":            runsWaitForTheirNeeds,
		"AppliesWaitForEarlierApplies":     appliesWaitForEarlierApplies,
		"NoApplyWaitsForEver":              noApplyWaitsForEver,
		"SupersedeStopsPlansAndNoApply":    supersedeStopsPlansAndNoApply,
		"RunGivenBackAfterCancelIsOver":    runGivenBackAfterCancelIsOver,
		"OperationsAreNumberedInOrder":     operationsAreNumberedInOrder,
		"FinishIsClaimedOnceAllIsOver":     finishIsClaimedOnceAllIsOver,
		"ReportsAreCoalesced":              reportsAreCoalesced,
		"ReportThatFailedWaits":            reportThatFailedWaits,
		"OlderNewsOfAChangeIsDropped":      olderNewsOfAChangeIsDropped,
		"ChangeKeepsWhatWasMadeOfIt":       changeKeepsWhatWasMadeOfIt,
		"WorkspacesComeAndGo":              workspacesComeAndGo,
		"PollsAreTakenInTurn":              pollsAreTakenInTurn,
		"NoChangeStarves":                  noChangeStarves,
		"AppliesComeBeforePlans":           appliesComeBeforePlans,
		"RowsComeBackAsTheyWereKept":       rowsComeBackAsTheyWereKept,
		"CommentsAndStatusesAreRemembered": commentsAndStatusesAreRemembered,
		"LevelsCountWhatThereIs":           levelsCountWhatThereIs,
		"QueueTellsOfTheNewestOperation":   queueTellsOfTheNewestOperation,
		"SweepComesBackAsItWasKept":        sweepComesBackAsItWasKept,
		"FindingsComeAndGo":                findingsComeAndGo,
		"HistoryGrowsWithChange":           historyGrowsWithChange,
		"PauseHoldsWhereItSays":            pauseHoldsWhereItSays,
		"HistoryTellsWhatTurned":           historyTellsWhatTurned,
		"LookGivesWayToApplies":            lookGivesWayToApplies,
		"OneWriterIsAConstraint":           oneWriterIsAConstraint,
		"WorkspacesAreFound":               workspacesAreFound,
		"ListsGoOn":                        listsGoOn,
		"QueueTellsWhatWaits":              queueTellsWhatWaits,
		"AuditIsVerified":                  auditIsVerified,
		"DriftIsCounted":                   driftIsCounted,
		"OutputComesBackAsItWasPrinted":    outputComesBackAsItWasPrinted,
		"OutputIsMovedOnWhileItComes":      outputIsMovedOnWhileItComes,
		"OutputHasAnEnd":                   outputHasAnEnd,
		"OutputWaitsForTheDatabase":        outputWaitsForTheDatabase,
		"WhatIsNotInSightIsAbsent":         whatIsNotInSightIsAbsent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(t.Context(), suiteOptions(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			w := &rowsWorld{T: t, db: db}
			w.clock.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
			w.store = &store{now: func() time.Time { return time.UnixMilli(w.clock.Load()) }}
			w.tx(func(tx *sql.Tx) error {
				return w.store.putRepository(t.Context(), tx, Repository{ID: repo, Forge: "gh", Repo: repo.repo(), DefaultBranch: "main"})
			})
			test(t, w)
		})
	}
}

const repo = RepoID("gh/acme/live")

// rowsWorld is a database with one repository and a clock that is moved by hand.
type rowsWorld struct {
	*testing.T
	db    *database.DB
	store *store
	clock atomic.Int64
}

func (w *rowsWorld) pass(d time.Duration) { w.clock.Add(d.Milliseconds()) }

func (w *rowsWorld) tx(fn func(tx *sql.Tx) error) {
	w.Helper()
	if err := w.db.Tx(w.Context(), fn); err != nil {
		w.Fatal(err)
	}
}

// at once runs fn in many goroutines and counts how often it reports true.
func (w *rowsWorld) atOnce(n int, fn func(ctx context.Context, i int) (bool, error)) int {
	w.Helper()
	var wg sync.WaitGroup
	var yes atomic.Int64
	for i := range n {
		wg.Go(func() {
			ok, err := fn(w.Context(), i)
			if err != nil {
				w.Errorf("%d: %v", i, err)
			}
			if ok {
				yes.Add(1)
			}
		})
	}
	wg.Wait()
	return int(yes.Load())
}
