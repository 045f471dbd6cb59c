CREATE TYPE medium AS ENUM ('book', 'map', 'recording');

CREATE TABLE works (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title        text NOT NULL,
    medium       medium NOT NULL DEFAULT 'book',
    part_of      uuid REFERENCES works,
    details      jsonb NOT NULL DEFAULT '{}',
    "lastChange" timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE copies (
    work_id uuid REFERENCES works ON DELETE CASCADE,
    number  int,
    shelf   text NOT NULL,
    PRIMARY KEY (work_id, number)
);

CREATE TABLE "WorkHistory" (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    work_id uuid NOT NULL REFERENCES works ON DELETE CASCADE,
    title   text NOT NULL,
    details jsonb NOT NULL
);

CREATE FUNCTION remember_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO "WorkHistory" (work_id, title, details) VALUES (OLD.id, OLD.title, OLD.details);
    NEW."lastChange" := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER remember BEFORE UPDATE ON works FOR EACH ROW EXECUTE FUNCTION remember_work();

CREATE TABLE members (
    id   serial PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE loans (
    member_id int REFERENCES members,
    work_id   uuid,
    number    int,
    lent_at   timestamptz DEFAULT now(),
    PRIMARY KEY (member_id, work_id, number, lent_at),
    FOREIGN KEY (work_id, number) REFERENCES copies
);
