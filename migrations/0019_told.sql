-- What members are told of a message that is not there yet.

ALTER TABLE deliveries
    -- Why it could not be posted at the last attempt, where a person has to mend something; NULL: nothing is known.
    ADD COLUMN trouble text;
