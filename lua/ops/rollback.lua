-- B id
--   1 given back, now or before · { word }
local function roll_back(id)
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'c' then return { 'ALREADYCOMMITTED' } end
  if h.state == 'o' then hold_give_back(id, h, 'r') end
  return 1
end

OPERATIONS.B = { arity = 1, id = 1, run = function(first)
  define_records()
  return roll_back(ARGV[first])
end }

-- b list: rollbacks of lots' reservations (lib/format.lua)
--   1 all are given back, now or before · else for each 1 or { word }
OPERATIONS.b = { arity = 1, lots = listed(ROLLBACKS), run = function(first)
  return end_listed(first, ROLLBACKS, 'r', stock_give_back, roll_back)
end }
