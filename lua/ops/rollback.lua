-- B id
--   1 given back, now or before · { word }
OPERATIONS.B = { arity = 1, id = 1, run = function(first)
  local id = ARGV[first]
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'c' then return { 'ALREADYCOMMITTED' } end
  if h.state == 'o' then hold_give_back(id, h, 'r') end
  return 1
end }
