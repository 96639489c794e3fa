-- Stands before each script of an isolated tenant's, on the script's own first line: the script then sees and says the tenant's
-- names alone, those that it makes itself too.
--   KEYS   the tenant's keys, each behind the prefix
--   ARGV   the script's arguments, and behind them the prefix
-- Makes KEYS without the prefix, ARGV without its last, and redis.call and redis.pcall put the prefix before each key. What these
-- may do is for the rights of the tenant's upstream user, as every call is.
-- All scripts of an upstream run in one interpreter, the sidecar's own too: what a script changed there would change what others'
-- do, or do it in their name. An engine that has setfenv lets scripts change its libraries and assign to its globals, where it also
-- keeps all scripts, as f_<sha>: there a script gets copies, and globals that can only be read. What else remembers, or leads to
-- what is shared, is kept.lua's.
-- PLACES is ` NAME:places ` of each command whose keys are elsewhere than in its first argument (see wrap.rs):
--   first,last,step  as COMMAND has them; 0,0,1: none
--   #at,step         so many as argument `at` says, behind it; with `d` before it the first argument too
--   x, s             XREAD's and SORT's
-- and `p` behind it: the reply's first element is a key.
-- Whole lines of comment are left out and the others joined by blanks.
local @NAMES@ = (function(real, outer, args)
local globals = _G
local string, table, rawget, pairs, error = globals.string, globals.table, rawget, pairs, error
local prefix = table.remove(args)
local len = #prefix
local upper, sub, find, match, format = string.upper, string.sub, string.find, string.match, string.format
local type, tonumber, unpack, select = type, tonumber, unpack, select
local PLACES = "@PLACES@"
local known = {}
local function outside(name)
if type(name) == 'number' then name = format('%.17g', name) end
if type(name) == 'string' then return prefix .. name end
return name
end
local function inside(name)
if type(name) == 'string' and sub(name, 1, len) == prefix then return sub(name, len + 1) end
return name
end
local function places(command)
local name = upper(command)
local _, from = find(PLACES, ' ' .. name .. ':', 1, true)
local found = from and match(PLACES, '^[^ ]+', from + 1) or false
known[command] = found
return found
end
local function range(list, first, last, step)
for at = first, last, step do list[at] = outside(list[at]) end
end
local function streams(list, count)
local at = 1
while at <= count do
local word = type(list[at]) == 'string' and upper(list[at])
if word == 'STREAMS' then range(list, at + 1, at + (count - at) / 2, 1) return end
at = at + (word == 'GROUP' and 3 or word == 'NOACK' and 1 or 2)
end
end
local function sorting(list, count)
list[1] = outside(list[1])
local at = 2
while at < count do
local word = type(list[at]) == 'string' and upper(list[at])
if word == 'STORE' then list[at + 1] = outside(list[at + 1]) end
at = at + ((word == 'STORE' or word == 'BY' or word == 'GET') and 2 or word == 'LIMIT' and 3 or 1)
end
end
local function place(where, list, count)
local first, last, step = match(where, '^(%d+),(-?%d+),(%d+)')
if first then
last = tonumber(last)
if last < 0 then last = count + 1 + last end
return range(list, tonumber(first), last < count and last or count, tonumber(step))
end
local also, at, each = match(where, '^(d?)#(%d+),(%d+)')
if at then
if also == 'd' then list[1] = outside(list[1]) end
at, each = tonumber(at), tonumber(each)
last = at + (tonumber(list[at]) or 0) * each
return range(list, at + 1, last < count and last or count, each)
end
if where == 'x' then return streams(list, count) end
return sorting(list, count)
end
local function back(where, reply)
if type(reply) ~= 'table' or reply.err then return reply end
if sub(where, -1) == 'p' then reply[1] = inside(reply[1]) end
if where == 'x' then
for _, pair in ipairs(reply) do pair[1] = inside(pair[1]) end
if reply.map then
local map = {}
for key, entries in pairs(reply.map) do map[inside(key)] = entries end
reply.map = map
end
end
return reply
end
local function held(call)
return function(command, ...)
local count = select('#', ...)
if count == 0 or type(command) ~= 'string' then return call(command, ...) end
local where = known[command]
if where == nil then where = places(command) end
if where == '0,0,1' then return call(command, ...) end
if not where and count == 1 then return call(command, outside((...))) end
if not where then return call(command, outside((...)), select(2, ...)) end
local list = {...}
place(where, list, count)
return back(where, call(command, unpack(list, 1, count)))
end
end
local keys = {}
for at = 1, #outer do keys[at] = inside(outer[at]) end
local mine = setmetatable({call = held(real.call), pcall = held(real.pcall)}, {__index = real, __metatable = false})
local server = rawget(globals, 'server') and mine
local setfenv, env = rawget(globals, 'setfenv'), globals
if setfenv then
local copies = {}
for _, name in ipairs({'bit', 'cmsgpack', 'coroutine', 'math', 'string', 'struct', 'table'}) do
local copy = {}
for key, value in pairs(globals[name]) do copy[key] = value end
copies[name] = copy
end
env = setmetatable({}, {__index = function(_, name)
if copies[name] then return copies[name] end
if type(name) == 'string' and sub(name, 1, 2) == 'f_' then name = 'f_' end
return globals[name]
end, __newindex = function(_, name)
error("Script attempted to create global variable '" .. name .. "'", 2)
end})
setfenv(2, env)
end
@KEPT@
return @VALUES@
end)(redis, KEYS, ARGV);
