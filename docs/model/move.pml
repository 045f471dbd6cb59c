/* The move of a module between two databases, for spin. README.md says what is left out, and why that is sound.
 *
 * -D WRITES=, CRASHES=, EPOCHS= bound it; -D <a mutant> breaks one rule; -D REACH=<condition> claims that there is no
 * such state, to see that there is.
 */
#ifndef WRITES
#define WRITES 3    /* statements that pass the fence, of both writers together; at most 5 */
#endif
#ifndef CRASHES
#define CRASHES 1   /* of the two databases together */
#endif
#ifndef EPOCHS
#define EPOCHS 3    /* 1: create, 2: switch, 3: reverse ... */
#endif
#define LOG (WRITES + EPOCHS)

/* Source and target. Owner and epoch change together, so the epoch tells the owner: the source when it is odd, and
 * where there is no row (0). */
#define S 0
#define D 1
#define OTHER(site) (1 - (site))
#define OWNER(epoch) ((epoch) > 0 && (epoch) % 2 == 0)

/* A transaction in a stream, as one byte: a row inserted, a row deleted (ids below 8), or the ownership row. */
#define INSERT(id) (id)
#define DELETE(id) (8 + (id))
#define HANDOVER(epoch, sequence) (8 * ((epoch) + 1) + (sequence))

/* States of a subscription. */
#define NONE 0
#define COPYING 1
#define READY 2

#define BIT(n) (1 << (n))
#define NAME(site) ((site) == S -> 'S' : 'D')      /* in what `spin -t` prints */

typedef Database {
    byte rows;          /* the module's table: bit n is the row with id n */
    byte sequence;
    byte epoch;         /* of the ownership row */
    /* The same on disk. Apply commits asynchronously, so that a crash may lose what was applied since the last commit
     * of somebody else; it is then applied again. */
    byte rows_on_disk;
    byte sequence_on_disk;
    byte epoch_on_disk;

    bool fenced;        /* the fence is there, and up */
    bool lowering;      /* a killed controller's COMMIT that lowers it is still at work, under the module's lock */
    bool retired;       /* complete has moved the table away */
    byte sessions;      /* bit n: writer n has a transaction open */
    byte writing;       /* bit n: it has the table's lock */
    byte shared;        /* bit n: and the module's, because it met the fence */
    bool exclusive;     /* the switch holds the module's lock */
    bool connected;     /* the controller is */
    bool orphan;        /* a killed controller's COMMIT is still at work, under that lock */

    /* The stream from here: what the slot keeps, from the first transaction that is not on disk at the other side. */
    bool slot;
    byte log[LOG];
    byte logged;
    byte applied;       /* how many of them the other side has applied: its origin's position, durable with its rows */
    byte subscription;  /* of this side to the stream from the other */
};
Database db[2];

byte truth;             /* the rows as they should be: every committed write, in the order of the commits */
byte answered;          /* the ids that were handed out */
byte left = WRITES;
byte crashes = CRASHES;     /* yet to come */

bool I1, I2, I4;        /* the broken invariant */
#define CHECK(invariant, condition) invariant = !(condition); assert(!invariant)

#define NEWEST (db[S].epoch > db[D].epoch -> db[S].epoch : db[D].epoch)
#define ACCEPTS(site) (OWNER(db[site].epoch) == (site))
#define IF(rows, n, otherwise) ((rows) >= BIT(n) -> n : otherwise)
#define LAST(rows) IF(rows, 5, IF(rows, 4, IF(rows, 3, IF(rows, 2, IF(rows, 1, 0)))))

byte i;

/* What the subscriber has on disk is confirmed, and the slot lets go of it. */
inline confirm(site) {
    d_step {
        i = 0;
        do
        :: i < db[site].logged ->
            db[site].log[i] = (i + db[site].applied < db[site].logged -> db[site].log[i + db[site].applied] : 0);
            i++
        :: else -> break
        od;
        db[site].logged = db[site].logged - db[site].applied;
        db[site].applied = 0;
        i = 0
    }
}

/* A commit that waits for the disk takes all earlier ones there. */
inline to_disk(site) {
    db[site].rows_on_disk = db[site].rows;
    db[site].sequence_on_disk = db[site].sequence;
    db[site].epoch_on_disk = db[site].epoch
}

inline flush(site) {
    to_disk(site);
    confirm(OTHER(site))
}

inline append(site, transaction) {
    if
    :: db[site].slot -> db[site].log[db[site].logged] = transaction; db[site].logged++
    :: else
    fi
}

/* --- writers -------------------------------------------------------------------------------------------------- */

#define ALIVE (db[at].sessions & BIT(me))
/* Under READ COMMITTED every statement has a snapshot of its own: nothing happens before the fence. */
#ifdef ROW_BEFORE_LOCK
#define EARLY_SNAPSHOT true
#else
#define EARLY_SNAPSHOT repeatable_read
#endif
#define SEEN (EARLY_SNAPSHOT -> snapshot : db[at].epoch)    /* by a plain SELECT */
#ifdef NO_FOR_SHARE
#define CHANGED false
#else
#define CHANGED (repeatable_read && db[at].epoch != snapshot)    /* a serialization failure */
#endif
/* Where the fence is down nobody is refused, but by the facade where there is no row. */
#define REFUSED (db[at].fenced -> OWNER(SEEN) != at || CHANGED : !db[at].epoch && OWNER(SEEN) != at)
#define MAY_WRITE(site) (!db[site].fenced || (!db[site].exclusive && !db[site].lowering))

/* The table's lock, with the statement; and so the fence neither goes up nor down until the transaction ends. */
inline lock() {
    db[at].writing = db[at].writing | BIT(me);
    if
    :: db[at].fenced -> db[at].shared = db[at].shared | BIT(me)
    :: else
    fi
}

inline end_transaction() {
    db[at].sessions = db[at].sessions & ~BIT(me);
    db[at].writing = db[at].writing & ~BIT(me);
    db[at].shared = db[at].shared & ~BIT(me);
    at = 0; id = 0; snapshot = 0
}

/* Knocks at any site; what one refuses it may try at the other. */
proctype writer(byte me; bool repeatable_read) {
    byte at, id, snapshot;

begin:
    atomic {
        if
        :: !left -> goto done
        :: left && (EARLY_SNAPSHOT || MAY_WRITE(S)) -> at = S
        :: left && (EARLY_SNAPSHOT || MAY_WRITE(D)) -> at = D
        fi;
        db[at].sessions = db[at].sessions | BIT(me);
        if
        :: EARLY_SNAPSHOT -> snapshot = db[at].epoch; printf("writer %d at %c: snapshot\n", me, NAME(at))
        :: else -> lock(); goto fence
        fi
    }
    if
    :: atomic { ALIVE && MAY_WRITE(at) -> lock() }
    :: atomic { !ALIVE -> end_transaction(); goto begin }
    fi;

fence:  /* The lock first, and then the row. */
    if
    :: atomic { ALIVE && left && !REFUSED && !db[at].retired ->
        left--;
        printf("writer %d at %c: past the fence\n", me, NAME(at));
        if
        :: db[at].sequence++; id = db[at].sequence
        :: db[at].rows -> id = 0    /* to delete the last row */
        fi
       }
    :: atomic { !ALIVE || !left || REFUSED || db[at].retired -> end_transaction(); goto begin }
    fi;

    if
    :: atomic { ALIVE ->
        CHECK(I1, OWNER(NEWEST) == at);
        CHECK(I2, db[at].rows == truth);
        if
        :: id ->
            CHECK(I2, !(answered & BIT(id)));
            answered = answered | BIT(id);
            truth = truth | BIT(id);
            db[at].rows = db[at].rows | BIT(id);
            append(at, INSERT(id));
            printf("writer %d at %c: inserted %d\n", me, NAME(at), id)
        :: !id && db[at].rows ->
            id = LAST(db[at].rows);
            truth = truth & ~BIT(id);
            db[at].rows = db[at].rows & ~BIT(id);
            append(at, DELETE(id));
            printf("writer %d at %c: deleted %d\n", me, NAME(at), id)
        :: else     /* the other has deleted it */
        fi;
        flush(at);
        end_transaction();
        goto begin
       }
    :: atomic { !ALIVE -> end_transaction(); goto begin }
    fi;
done:
    skip
}

/* --- streams -------------------------------------------------------------------------------------------------- */

#define PUBLISHER db[OTHER(site)]

inline set_sequence(site, position) {
#ifdef SEQUENCE_FROM_MAX_ID
    db[site].sequence = LAST(db[site].rows)
#else
    db[site].sequence = position
#endif
}

/* The workers of the subscription at `site`. One that dies before its commit begins again where the last commit was. */
proctype subscriber(byte site) {
    byte transaction;

end:
    do
    /* The first copy, as of one moment; the stream goes on from there. Rows that are there already would collide. */
    :: atomic { db[site].subscription == COPYING && PUBLISHER.slot &&
                !db[site].epoch && !(db[site].rows & PUBLISHER.rows) ->
#ifndef SLOT_AFTER_COPY
        db[site].rows = db[site].rows | PUBLISHER.rows;
        PUBLISHER.applied = PUBLISHER.logged;
#endif
        db[site].epoch = PUBLISHER.epoch;
        db[site].subscription = READY;
        printf("stream to %c: copied\n", NAME(site));
        flush(site)
       }
    :: atomic { db[site].subscription == READY && PUBLISHER.slot && PUBLISHER.applied < PUBLISHER.logged ->
        transaction = PUBLISHER.log[PUBLISHER.applied];
        if
        :: transaction >= HANDOVER(1, 0) ->
            /* The trigger sets the sequence at once and for good, whatever becomes of the transaction. */
            if
            :: OWNER(transaction / 8 - 1) == site -> set_sequence(site, transaction % 8)
            :: else
            fi;
            if
            :: db[site].epoch = transaction / 8 - 1;
                printf("stream to %c: epoch %d\n", NAME(site), db[site].epoch);
                PUBLISHER.applied++;
                CHECK(I2, !ACCEPTS(site) || db[site].rows == truth)
            :: transaction = 0; goto end     /* the worker dies */
            fi
        :: transaction >= DELETE(0) && transaction < HANDOVER(1, 0) ->
            printf("stream to %c: deletes %d\n", NAME(site), transaction - DELETE(0));
            db[site].rows = db[site].rows & ~BIT(transaction - DELETE(0));
            PUBLISHER.applied++
        :: transaction < DELETE(0) ->
            printf("stream to %c: inserts %d\n", NAME(site), transaction);
            CHECK(I4, !(db[site].rows & BIT(transaction)));     /* a conflict: the stream stops */
            db[site].rows = db[site].rows | BIT(transaction);
            PUBLISHER.applied++
        fi;
#ifdef NO_ORIGIN_FILTER
        append(site, transaction);
#endif
        transaction = 0;
        if
        :: !crashes -> flush(site)     /* who will not crash need not remember */
        :: else
        fi
       }
    od
}

/* The second half of the switch, under the lock: one transaction. */
#ifdef NO_RAISE
#define MAY_HAND_OVER(giver) (ACCEPTS(giver) && db[giver].epoch < EPOCHS)
#else
#define MAY_HAND_OVER(giver) (ACCEPTS(giver) && db[giver].epoch < EPOCHS && db[giver].fenced)
#endif
inline hand_over(giver) {
    db[giver].epoch++;
    append(giver, HANDOVER(db[giver].epoch, db[giver].sequence));
    flush(giver);
    db[giver].exclusive = false
}

/* A switch that finds the fence up keeps it so: it has waited for whoever is lowering it. */
inline lower(site) {
    db[site].fenced = false;
    flush(site)
}

/* --- crashes -------------------------------------------------------------------------------------------------- */

/* A database that is down is one in which nothing happens for a while, so crash and restart are one step. */
inline crash(site) {
    crashes--;
    printf("crash of %c\n", NAME(site));
    db[site].rows = db[site].rows_on_disk;
    db[site].sequence = db[site].sequence_on_disk;
    db[site].epoch = db[site].epoch_on_disk;
    db[site].sessions = 0;
    db[site].writing = 0;
    db[site].shared = 0;
    db[site].lowering = false;
    db[site].exclusive = false;
    db[site].connected = false;
    db[site].orphan = false;
    PUBLISHER.applied = 0;     /* what was not confirmed is sent again */
    if
    :: !crashes -> flush(site)
    :: else
    fi
}

proctype fate() {
end:
    do
    :: atomic { crashes -> crash(S) }
    :: atomic { crashes -> crash(D) }
    :: atomic { db[D].orphan -> printf("orphan at D: commits\n"); hand_over(D); db[D].orphan = false }
    :: atomic { db[S].lowering -> printf("orphan at S: fence lowered\n"); lower(S); db[S].lowering = false }
    :: atomic { db[D].lowering -> printf("orphan at D: fence lowered\n"); lower(D); db[D].lowering = false }
    od
}

/* --- the controller ------------------------------------------------------------------------------------------- */

/* A statement of the kit in one database: whether it is its turn, and what it does. */
#define STEP(site, condition, effect) \
    atomic { \
        db[site].connected && (condition) -> \
        printf("controller at %c: ", NAME(site)); printf(#effect); printf("\n"); \
        effect \
    }

#ifdef LATE_REVERSE_PAIR
#define PAIRED(giver) (db[OTHER(giver)].subscription == READY)
#define PAIR_WANTED (ACCEPTS(D))
#else
#define PAIRED(giver) (db[S].subscription == READY && db[D].subscription == READY)
#define PAIR_WANTED true
#endif
/* Not after complete, not into tables with rows, and not when all is done. */
#define MAY_CREATE (db[S].subscription != READY && (db[D].subscription || (!OWNER(db[S].epoch) && !db[D].rows)))
#define MAY_SWITCH(giver) (NEWEST && NEWEST < EPOCHS && OWNER(NEWEST) == giver && PAIRED(giver))
#ifdef NO_EXCLUSIVE_LOCK
#define LOCK_EXCLUSIVE(giver) STEP(giver, true, skip)
#else
#define LOCK_EXCLUSIVE(giver) STEP(giver, !db[giver].shared && !db[giver].exclusive && !LOWERING(giver), \
                                   db[giver].exclusive = true)
#endif
#ifdef LOWER_WITHOUT_LOCK
#define LOWERING(site) false
#else
#define LOWERING(site) db[site].lowering
#endif
#ifdef NO_RAISE
#define RAISE(giver) skip
#else
#define RAISE(giver) STEP(giver, db[giver].fenced || !db[giver].writing, db[giver].fenced = true)
#endif
#define MAY_LOWER(site) (ACCEPTS(site) && db[site].fenced && !db[site].writing && !db[site].exclusive)
#ifdef CANCEL_BEFORE_ARRIVAL
#define MAY_CANCEL (OWNER(NEWEST) == S)
#else
#define MAY_CANCEL (OWNER(NEWEST) == S && db[S].epoch == NEWEST)
#endif
/* Under the lock, so that no COMMIT is at work. */
#ifdef COMPLETE_WITHOUT_LOCK
#define MAY_COMPLETE (OWNER(NEWEST) == D && db[D].epoch == NEWEST)
#else
#define MAY_COMPLETE (OWNER(NEWEST) == D && db[D].epoch == NEWEST && !db[D].exclusive)
#endif
/* Where the fence goes, so must whoever has read there, before, that D owns: DROP SCHEMA waits for them. */
#ifdef CANCEL_PAST_READERS
#define UNAWARE db[D].writing
#else
#define UNAWARE db[D].sessions
#endif
#define NO_STREAMS (!db[S].subscription && !db[D].subscription && !db[S].slot && !db[D].slot)

/* A slot without its subscription is left from an attempt that was killed. */
inline make_slot(site) {
#ifdef KEEP_OLD_SLOT
    db[site].applied = 0;
#else
    drop_slot(site);
#endif
    db[site].slot = true
}

inline drop_slot(site) {
    db[site].applied = db[site].logged;
    confirm(site);
    db[site].slot = false
}

inline subscribe(site, state) {
    db[site].subscription = state;
    flush(site)
}

inline drop_subscription(site) {
    db[site].subscription = NONE;
#ifdef KEEP_OLD_SLOT
    to_disk(site)       /* and the publisher hears of it later, or never */
#else
    flush(site)
#endif
}

inline connect() {
    db[S].connected = true;
    db[D].connected = true
}

/* Any verb at any time. Each finds out from the databases whether it may and what is left to do, in that order;
 * `goto start` is its end, or its being killed: at any point, without end. */
proctype controller() {
    bool slot;      /* made by this controller, for the subscription that comes next */

start:
    atomic {
        printf("controller: ends, or is killed\n");
        slot = false;
        db[S].connected = false;
        db[D].connected = false;
        db[S].exclusive = false;
        db[D].exclusive = db[D].orphan
    }
end:
    if
    :: atomic { MAY_CREATE -> connect(); printf("controller: create\n"); goto create }
    :: atomic { MAY_SWITCH(S) -> connect(); printf("controller: switch\n"); goto switch }
    :: atomic { MAY_SWITCH(D) -> connect(); printf("controller: reverse\n"); goto reverse }
    :: atomic { MAY_LOWER(S) || MAY_LOWER(D) -> connect(); printf("controller: lower\n"); goto lower_fence }
    :: atomic { MAY_CANCEL -> connect(); printf("controller: cancel\n"); goto cancel }
    :: atomic { MAY_COMPLETE -> connect(); printf("controller: complete\n"); goto complete }
    fi;

create:
    do
    :: STEP(S, !db[S].epoch, db[S].epoch = 1; flush(S))
    /* CREATE TRIGGER waits for who has written. At the source the fence is down. */
    :: STEP(D, db[S].epoch && !db[D].fenced && !db[D].writing, db[D].fenced = true)
#ifdef SLOT_AFTER_COPY
    :: STEP(D, db[D].fenced && !db[D].subscription && !slot, db[D].rows = db[S].rows; slot = true)
    :: STEP(D, slot && !db[D].subscription, make_slot(S); subscribe(D, COPYING); slot = false)
#else
    :: STEP(S, db[D].fenced && !db[D].subscription && !slot, make_slot(S); slot = true)
    :: STEP(D, !db[D].subscription && slot, subscribe(D, COPYING); slot = false)
#endif
    :: STEP(D, db[D].subscription == READY && !db[S].subscription && PAIR_WANTED && !slot, make_slot(D); slot = true)
    :: STEP(S, db[D].subscription == READY && !db[S].subscription && slot, subscribe(S, READY); slot = false)
    :: goto start
    od;

lower_fence:
    if
    :: STEP(S, MAY_LOWER(S) && !db[S].lowering, lower(S))
    :: STEP(D, MAY_LOWER(D) && !db[D].lowering, lower(D))
    :: STEP(S, MAY_LOWER(S), db[S].lowering = true)     /* killed while its COMMIT is at work */
    :: STEP(D, MAY_LOWER(D), db[D].lowering = true)
    :: true
    fi;
    goto start;

switch:
    if
    :: RAISE(S)
    :: goto start
    fi;
    if
    :: LOCK_EXCLUSIVE(S)
    :: goto start
    fi;
    if
    :: STEP(S, MAY_HAND_OVER(S), hand_over(S))
    :: goto start
    fi;
#ifdef EARLY_ACTIVATION
    STEP(D, true, db[D].epoch = db[S].epoch; db[D].sequence = db[S].sequence; flush(D));
#endif
    goto start;

reverse:
    if
    :: RAISE(D)
    :: goto start
    fi;
    if
    :: LOCK_EXCLUSIVE(D)
    :: goto start
    fi;
    if
    :: STEP(D, MAY_HAND_OVER(D), hand_over(D))
    :: STEP(D, MAY_HAND_OVER(D), db[D].orphan = true)     /* killed while its COMMIT is at work */
    :: true
    fi;
    goto start;

cancel:
    do
    :: STEP(S, db[S].subscription, drop_subscription(S))
    :: STEP(D, !db[S].subscription && db[D].slot, drop_slot(D))
    :: STEP(D, !db[D].slot && db[D].subscription, drop_subscription(D))
    :: STEP(S, !db[D].subscription && db[S].slot, drop_slot(S))
    :: STEP(D, NO_STREAMS && db[D].fenced && !UNAWARE,
            db[D].rows = 0; db[D].epoch = 0; db[D].fenced = false; flush(D))
    :: STEP(S, NO_STREAMS && !db[D].fenced && !db[S].writing && !db[S].lowering,
            db[S].epoch = 0; db[S].fenced = false; flush(S); goto start)
    :: goto start
    od;

complete:
    do
    :: STEP(D, db[D].subscription, drop_subscription(D))
    :: STEP(S, !db[D].subscription && db[S].slot, drop_slot(S))
    :: STEP(S, !db[S].slot && db[S].subscription, drop_subscription(S))
    :: STEP(D, !db[S].subscription && db[D].slot, drop_slot(D))
    :: STEP(S, NO_STREAMS && !db[S].retired && !db[S].writing,
            db[S].retired = true; CHECK(I2, ACCEPTS(D) && db[D].rows == truth))
    :: STEP(D, db[S].retired && db[D].fenced && !db[D].writing && !db[D].lowering, db[D].fenced = false)
    :: goto start
    od
}

/* --- what must hold, beside what is checked where it happens ---------------------------------------------------- */

#define DRAINED_FROM(site) \
    (db[site].slot && db[site].applied == db[site].logged && db[OTHER(site)].subscription == READY)
#define DRAINED (DRAINED_FROM(S) && DRAINED_FROM(D))
#define EQUAL (db[S].rows == truth && db[D].rows == truth && db[S].epoch == db[D].epoch)

/* What can be reached, lest the above hold of nothing. */
#define WRITTEN_IN(site) (db[site].logged && db[site].log[0] < HANDOVER(1, 0))
#define WRITTEN_AT_BOTH (ACCEPTS(D) && WRITTEN_IN(D) && db[S].rows & db[D].rows)
#define CRASHED_BETWEEN (!crashes && db[S].epoch == 2 && db[D].epoch == 1)
#define BACK_AGAIN (DRAINED && db[S].epoch == 3 && !left && truth)
#define CANCELLED_AFTER_REVERSE (!db[S].epoch && db[D].sequence && truth)
#define COMPLETED (db[S].retired && !db[D].fenced && truth)

proctype monitor() {
end:
    do
    :: atomic { ACCEPTS(S) && ACCEPTS(D) -> CHECK(I1, false) }
    :: atomic { ACCEPTS(S) && !db[S].retired && db[S].rows != truth -> CHECK(I2, false) }
    :: atomic { ACCEPTS(D) && db[D].rows != truth -> CHECK(I2, false) }
    :: atomic { DRAINED && !EQUAL -> CHECK(I4, false) }
#ifdef REACH
    :: atomic { REACH -> assert(!REACH) }
#endif
    od
}

init {
    atomic {
        run writer(0, false);
        run writer(1, true);
        run subscriber(S);
        run subscriber(D);
        run fate();
        run controller();
        run monitor()
    }
}
