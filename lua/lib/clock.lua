-- The clock is the upstream's: never a client's, never the sidecar's.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
