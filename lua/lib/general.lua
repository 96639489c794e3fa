-- What the long way needs of all.
local ops_memory_ms, settle_left, attempt = ARGV[2] + 0, ARGV[3] + 0, ARGV[5] + 0
local has = {} -- letter -> true
for i = 1, #letters do has[sub(letters, i, i)] = true end

-- The number that a text of the sidecar's is; most of a batch share theirs, and to convert one costs as much as to decide
-- on it.
local numbers = {}
local function number(text)
  local value = numbers[text]
  if not value then
    value = tonumber(text)
    numbers[text] = value
  end
  return value
end

local NUMBER_MAX = 9007199254740991 -- 2^53 - 1: what a Lua number holds exactly
local PAGE = 500                    -- members read or written by one command (Lua unpacks 8,000 at most)
local STOP = {}                     -- an operation that this call cannot decide any more (settle_max); it wrote nothing

-- Each ops/*.lua adds OPERATIONS[letter] = {
--   arity   how many arguments follow the letter (for `many`: those before the count)
--   many    true where a count and that many SKUs follow them
--   id, sku, op   which of the arguments is a reservation id, a SKU, a key of `ops`: read together before the first decision
--   lots    function(first, read): calls read(name) for its lots and logs, which are read with them
--   run     function(first): ARGV[first] is the first argument; returns the result or STOP }
local OPERATIONS = {}
